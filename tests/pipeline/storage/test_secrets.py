"""Secrets in text: what is cut, and what must stay readable."""

from __future__ import annotations

import pytest

from pipeline.storage.secrets import without_secrets


@pytest.fixture(autouse=True)
def secrets_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "planted one")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "plan/ted==")
    monkeypatch.setenv("SHORT_TOKEN", "cell")


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("https://me:pw@host/x", "https://host/x"),
        ("postgresql://me:p%40w@host:5432/db", "postgresql://host:5432/db"),
        ("https://token@host", "https://host"),
        ("https://me:p/w@d?x#@host:5000/x", "https://host:5000/x"),
        ("s3://KEY:SEC/RET+@bucket/p", "s3://bucket/p"),
        ("a://h:1/x,b://me:pw@host/y", "a://h:1/x,b://host/y"),
        ("s3://lab/a.tar?X-Amz-Signature=abc, s3://b/c", "s3://lab/a.tar, s3://b/c"),
        ("[s3://a/b?sig=1,2,s3://c?sig=3]", "[s3://a/b,s3://c]"),
        ('uri: "az://x/y?sv=1&sig=a%2Bc"\nnext: 1', 'uri: "az://x/y"\nnext: 1'),
        ("{shards: s3://a/b?sig=1&x=2, image: [jpg]}", "{shards: s3://a/b, image: [jpg]}"),
        ("https://host/cb#access_token=abc", "https://host/cb"),
        ("# token: abc, see wiki", "# token: ***, see wiki"),
        ("# export AWS_SECRET_ACCESS_KEY=wJ/al", "# export AWS_SECRET_ACCESS_KEY=***"),
        ("AccountName=x;AccountKey=ab+/==;E=core", "AccountName=x;AccountKey=***;E=core"),
        ("Authorization: Bearer abc", "Authorization: Bearer ***"),
        ('{"password": "a b", "x": 1}', '{"password": ***, "x": 1}'),
        ("login with hf_abcdefghijklmnopq now", "login with *** now"),
        ("401 for planted one, plan/ted==, plan%2Fted%3D%3D", "401 for ***, ***, ***"),
    ],
)
def test_what_signs_somebody_in_is_cut(text: str, safe: str) -> None:
    assert without_secrets(text) == safe


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:///mlflow.db",
        "write to me@example.org",
        "s3://lab/user@x/train-{000..004}.tar",
        "https://host:5000/#/experiments/1",
        "tracking: {uri: null, experiment: cells}",
        "ops:\n- {kind: inpaint, p: 0.7}  # tokens: none, keys: all\n",
        "HTTPConnectionPool(host='127.0.0.1', port=9): Max retries",
        "secret:\n  nested: 1",
    ],
)
def test_what_signs_nobody_in_stays(text: str) -> None:
    assert without_secrets(text) == text
