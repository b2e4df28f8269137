"""Connecting: addresses, tokens, certificates; Ray's real client against a server on loopback.

Ray keeps a token for as long as the process lives, so that no test here gives it one: that a token
lets in is tested on a real cluster (tests/cluster).
"""

from __future__ import annotations

import io
import socket
from pathlib import Path

import pytest
from rich.console import Console

from jobs.cluster import connecting
from jobs.cluster.connecting import connect, jobs_or_none, open_to_all, warn_of_risks
from schemas.errors import ClusterError
from tests.jobs.cluster.job_server import job_server, self_signed


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`connect` sets what Ray reads: it is as before after each test."""
    monkeypatch.setenv(connecting.ADDRESS, "http://another:8265")
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls") / "server.pem")


def test_the_address_that_is_given_wins_over_rays_variable() -> None:
    with job_server() as address:
        jobs = connect(address + "/")
        assert (jobs.address, jobs.all()) == (address, [])


@pytest.mark.parametrize("address", ["head:6379", "ray://head:10001", "auto", "http://", "", "x"])
def test_what_is_no_address_of_a_job_server_is_refused(address: str) -> None:
    with pytest.raises(ClusterError, match="write http://head:8265"):
        connect(address)


def test_a_token_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ClusterError) as caught:
        connect("http://me:token-1234@head:8265")
    assert "token-1234" not in str(caught.value)
    assert "RAY_AUTH_TOKEN" in str(caught.value)


def test_where_nothing_answers_one_line_says_so() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ClusterError, match="nothing answers there") as caught:
        connect(address)
    assert str(caught.value).startswith(address) and "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_another_server_is_told_from_rays() -> None:
    with job_server(of_ray=False) as address, pytest.raises(ClusterError, match="port of the dash"):
        connect(address)


def test_a_server_that_wants_a_token_says_how_to_give_it() -> None:
    with job_server(token="abc") as address:
        with pytest.raises(ClusterError, match="RAY_AUTH_MODE=token"):
            connect(address)
        assert not open_to_all(address)


def test_a_certificate_that_nobody_knows_is_refused_and_trusted_when_named(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    with job_server(certificate=certificate) as address:
        with pytest.raises(ClusterError, match="self-signed certificate; name whom to trust: --ca"):
            connect(address)
        assert connect(address, certificate).all() == []
        assert open_to_all(address, certificate)


def test_a_server_without_tls_is_told_from_one_that_nobody_knows(certificate: Path) -> None:
    with job_server() as address, pytest.raises(ClusterError, match="does not speak TLS"):
        connect(address.replace("http:", "https:"), certificate)


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"--ca: .*ca\.pem: is not there"):
        connect("https://head:8265", tmp_path / "ca.pem")


def said(address: str, open_to_everyone: bool) -> str:
    text = io.StringIO()
    warn_of_risks(address, open_to_everyone, Console(file=text, width=300))
    return text.getvalue()


def test_a_server_that_takes_jobs_of_everyone_is_warned_of() -> None:
    with job_server() as address:
        assert open_to_all(address)
    assert "whoever reaches this port runs code" in said("https://head:8265", True)


def test_a_token_that_travels_in_the_open_is_warned_of() -> None:
    assert "not encrypted" in said("http://head:8265", False)
    assert said("http://127.0.0.1:8265", False) == ""
    assert said("https://head:8265", False) == ""


def test_a_cluster_that_is_gone_leaves_the_sink(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    assert jobs_or_none("http://127.0.0.1:9", None, Console(file=text, width=300)) == []
    assert "from the sink alone" in text.getvalue()
    assert jobs_or_none(None, None, Console(file=text)) == []
