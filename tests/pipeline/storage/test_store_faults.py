"""What a store promises on a bad day: a real S3 server, and a proxy that really fails."""

import errno
import re
import socket
from pathlib import Path

import pytest

from pipeline.storage import clouds, retrying
from pipeline.storage.cloud_errors import TransientError
from pipeline.storage.store import Store
from tests.s3.proxy import FOREVER, SECRETS, Fault, Kind, Proxy
from tests.s3.server import ACCESS_KEY, FOREIGN, S3, SECRET_KEY

DATA = bytes(range(256)) * 12_000  # 3 MB, and no two places within 256 bytes are alike
PLANTED = [ACCESS_KEY, SECRET_KEY, *re.findall(r">([^<]+)<", SECRETS)]
REFUSALS: dict[Kind, str] = {
    "AccessDenied": "policy",
    "ExpiredToken": "have expired",
    "InvalidAccessKeyId": "AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY",
    "RequestTimeTooSkewed": "clock of this machine",
}


@pytest.fixture
def store(s3_bucket: str, s3_proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store with `a` in it, without pauses, and without the help of the SDK's own retries."""
    monkeypatch.setattr(retrying, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(clouds, "SDK_RETRIES", {"max_retries": 0})
    store = Store(f"{s3_bucket}/cells")
    assert store.create("a", DATA)
    s3_proxy.clear()
    return store


@pytest.fixture
def hasty(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The same place, opened with little patience for a request that hangs."""
    monkeypatch.setenv("AWS_READ_TIMEOUT", "300ms")
    return Store(f"{store.url}/")


def one_line(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    assert not [secret for secret in PLANTED if secret in text]
    assert error.__context__ is None and error.__cause__ is None, "a traceback would show it"
    return text


@pytest.mark.parametrize("kind", ["500", "503", "429", "reset", "stall", "cut", "stall_body"])
def test_what_passes_is_tried_again_whatever_is_done(
    hasty: Store, s3_proxy: Proxy, kind: Kind
) -> None:
    store = hasty

    def fails_first() -> None:
        assert s3_proxy.injected[kind] == times, "the fault was met"
        s3_proxy.clear()
        s3_proxy.plan(Fault(kind, times=times, after=100))

    times = 1 if kind.startswith("stall") else 2  # each costs the time-out
    s3_proxy.plan(Fault(kind, times=times, after=100))
    assert store.read("a", 5, 1000) == DATA[5:1005]
    fails_first()
    assert store.read("a") == DATA
    fails_first()
    assert store.list("") == ["a"]
    fails_first()
    assert store.entries("") == ["a"]
    if kind not in ("cut", "stall_body"):  # those have no body
        fails_first()
        assert store.stat("a").size == len(DATA)
        fails_first()
        assert store.create("b", b"1")
        fails_first()
        store.delete("b")
    fails_first()
    assert store.list("") == ["a"]


def test_a_body_that_breaks_many_times_is_continued_at_the_exact_byte(
    store: Store, s3_proxy: Proxy
) -> None:
    cuts = [300_000, 1_000_000, 700_001, 1, 200_000, 262_144, 0, 100_000]
    s3_proxy.plan(*(Fault("cut", "GET", at=at, after=n) for at, n in enumerate(cuts, 1)))
    start, size = 1234, len(DATA) - 5000
    assert store.read("a", start, size) == DATA[start : start + size]
    assert s3_proxy.injected["cut"] == len(cuts)
    firsts = [int(text.removeprefix("bytes=").split("-")[0]) for text in s3_proxy.ranges]
    assert firsts == [start + sum(cuts[:i]) for i in range(len(cuts) + 1)]


def test_a_body_may_break_more_often_than_there_are_tries(store: Store, s3_proxy: Proxy) -> None:
    s3_proxy.plan(Fault("cut", "GET", times=retrying.TRIES + 3, after=100_000))
    assert store.read("a", 0, 2_000_000) == DATA[:2_000_000]
    assert s3_proxy.injected["cut"] > retrying.TRIES


def test_in_a_storm_every_file_arrives_once_and_whole(
    store: Store, s3_server: S3, s3_proxy: Proxy
) -> None:
    stormy = Store(s3_server.bucket("storm"))  # by its name the storm chooses whom it strikes
    s3_proxy.storm(7, 0.3)
    files = {f"shards/{i}.tar": DATA[i : i + 10_000 * i] for i in range(25)}
    for name, data in files.items():
        assert stormy.create(name, data) or stormy.read(name) == data
        assert not stormy.create(name, b"somebody else's")
    assert stormy.list("") == sorted(files)
    assert {name: stormy.read(name) for name in files} == files
    assert len(s3_proxy.injected) == 6 and s3_proxy.injected.total() > 20


def test_it_ends_when_the_tries_are_used_up_and_says_why(store: Store, s3_proxy: Proxy) -> None:
    acts = {
        "read": lambda: store.read("a", 0, 10),
        "stat": lambda: store.stat("a"),
        "list": lambda: store.list(""),
        "create": lambda: store.create("b", b""),
        "delete": lambda: store.delete("a"),
    }
    for kind, said in (("503", "503"), ("reset", "connection broke")):
        for act in acts.values():
            s3_proxy.clear()
            s3_proxy.plan(Fault(kind, times=FOREVER))
            with pytest.raises(TransientError) as caught:
                act()
            text = one_line(caught.value)
            assert store.url in text and said in text and f"{retrying.TRIES} times" in text
            assert s3_proxy.injected[kind] == retrying.TRIES
    s3_proxy.clear()
    assert store.list("") == ["a"]


def test_patience_ends_before_the_tries_where_each_of_them_hangs(
    hasty: Store, s3_proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "PATIENCE", 0.1)
    s3_proxy.plan(Fault("stall", times=FOREVER))
    with pytest.raises(TransientError, match="no answer in time, 1 times"):
        hasty.read("a", 0, 10)


def test_the_sdks_own_retries_do_not_hide_ours(
    store: Store, s3_proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {**clouds.SDK_RETRIES, "max_retries": 1}
    monkeypatch.setattr(clouds, "SDK_RETRIES", few)
    s3_proxy.plan(Fault("503", times=3))
    assert Store(f"{store.url}/").read("a", 0, 10) == DATA[:10]
    assert s3_proxy.injected["503"] == 3


def test_a_file_that_changes_in_the_middle_of_a_read_is_an_error(
    store: Store, s3_proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replaced(seconds: float) -> None:
        store.delete("a")
        store.create("a", DATA[::-1])

    monkeypatch.setattr(retrying.time, "sleep", replaced)
    s3_proxy.plan(Fault("cut", "GET"))
    with pytest.raises(OSError) as caught:
        store.read("a")
    assert caught.value.errno == errno.ESTALE
    assert "has changed" in one_line(caught.value)


def test_a_version_that_is_given_must_be_the_one_that_is_read(store: Store) -> None:
    version = store.stat("a").version
    assert store.read("a", 1, 5, version) == DATA[1:6]
    store.delete("a")
    store.create("a", b"other bytes")
    with pytest.raises(OSError) as caught:
        store.read("a", 1, 5, version)
    assert caught.value.errno == errno.ESTALE


@pytest.mark.parametrize("kind", ["lost", "lost_500"])
def test_a_lost_answer_leaves_the_file_once_and_whole(
    store: Store, s3_proxy: Proxy, kind: Kind
) -> None:
    s3_proxy.plan(Fault(kind, "PUT"))
    assert not store.create("b", DATA), "taken, by this very call: compare the content"
    assert store.read("b") == DATA
    s3_proxy.plan(Fault(kind, "POST"))
    store.delete("b")
    assert store.list("") == ["a"]


def test_a_conflict_is_taken_only_where_there_is_a_file(store: Store, s3_proxy: Proxy) -> None:
    s3_proxy.plan(Fault("409", "PUT", times=2))
    assert store.create("b", b"1")
    s3_proxy.plan(Fault("409", "PUT"))
    assert not store.create("b", b"2")
    assert store.read("b") == b"1"


@pytest.mark.parametrize("kind", list(REFUSALS))
def test_a_refusal_is_not_tried_again_and_says_what_to_do(
    store: Store, s3_proxy: Proxy, kind: Kind
) -> None:
    for act in (
        lambda: store.read("a", 0, 10),
        lambda: store.list(""),
        lambda: store.entries(""),
        lambda: store.create("b", b""),
        lambda: store.delete("a"),
        lambda: store.stat("a"),
        lambda: store.exists("a"),
    ):
        s3_proxy.clear()
        s3_proxy.plan(Fault(kind, times=FOREVER))
        with pytest.raises(PermissionError) as caught:
            act()
        assert caught.value.errno == errno.EACCES
        text = str(caught.value)
        assert REFUSALS[kind] in text and kind in text and store.url in text
        assert "\n" not in text and not [secret for secret in PLANTED if secret in text]
        assert s3_proxy.injected[kind] <= 2, "a HEAD is asked for its reason by a GET"


def test_a_missing_bucket_is_not_a_missing_file(s3_proxy: Proxy) -> None:
    store = Store("s3://nobody-made-this")
    for act in (
        lambda: store.list(""),
        lambda: store.create("a", b""),
        lambda: store.read("a", 0, 1),
    ):
        with pytest.raises(OSError, match="no such bucket") as caught:
            act()
        assert caught.value.errno == errno.ENODEV


def test_without_credentials_it_ends_at_once(
    s3_server: S3, s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    for name in [*FOREIGN, *s3_server.environment()]:
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as unused:  # bound, and nobody listens
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setitem(clouds._METADATA, "s3", unused.getsockname())
        with pytest.raises(PermissionError, match="AWS_ACCESS_KEY_ID and AWS_SECRET"):
            Store(f"{s3_bucket}/other").list("")


def test_the_keys_that_aws_tools_share_are_used(
    s3_server: S3, s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    file = tmp_path / "credentials"
    file.write_text(f"[lab]\naws_access_key_id={ACCESS_KEY}\naws_secret_access_key = a%b=c\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    assert Store(f"{s3_bucket}/shared").create("a", b"")


@pytest.mark.parametrize(
    ("name", "value", "kind", "said"),
    [
        ("AWS_ENDPOINT_URL", "nonsense", OSError, "AWS_ENDPOINT_URL must begin"),
        ("AWS_SECRET_ACCESS_KEY", None, PermissionError, "SecretAccessKey"),
        ("AWS_READ_TIMEOUT", "soon", OSError, "soon"),
    ],
)
def test_a_mistake_in_the_environment_is_told_in_one_line(
    s3_bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str | None,
    kind: type[OSError],
    said: str,
) -> None:
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    with pytest.raises(kind) as caught:
        Store(f"{s3_bucket}/wrong").list("")
    assert said in one_line(caught.value)


def test_an_empty_file_is_a_file(store: Store) -> None:
    assert store.create("empty", b"")
    assert store.read("empty") == b""
    assert store.read("a", len(DATA) - 3) == DATA[-3:]


def test_many_files_are_deleted_by_one_request(store: Store, s3_proxy: Proxy) -> None:
    names = [f"many/{i}" for i in range(5)]
    for name in names:
        store.create(name, b"")
    s3_proxy.clear()
    store.delete_many([*names, "never/there"])
    assert len(s3_proxy.requests) == 1
    assert store.list("") == ["a"]
    store.delete_many([])


def test_only_object_stores_are_shared_between_machines(tmp_path: Path) -> None:
    shared = ["s3://lab/x", "gs://lab/x", "az://lab/x"]
    assert [Store(url).shared for url in shared] == [True] * 3
    assert not Store(str(tmp_path)).shared
    assert not Store("memory://x").shared


def test_google_and_azure_are_opened_by_their_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "lab")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "bm90IGEgc2VjcmV0")
    assert type(clouds.open_cloud("gs://lab/cells")).__name__ == "GCSStore"
    azure = clouds.open_cloud("az://cells/woven", sending=100_000_000)
    assert type(azure).__name__ == "AzureStore"


@pytest.mark.parametrize(
    "url", ["s3://key:hidden@lab/cells", "az://lab/cells?sv=2024&sig=hidden", "s3://k@lab"]
)
def test_a_url_with_credentials_in_it_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="environment") as caught:
        Store(url)
    assert "hidden" not in str(caught.value)
