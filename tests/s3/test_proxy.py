"""The fault proxy does what its plan says, and nothing else."""

import http.client

import pytest

from tests.s3.proxy import FOREVER, Fault, Proxy
from tests.s3.server import ACCESS_KEY

CREDENTIALS = f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20260101/us-east-1/s3/aws4_request"


def ask(
    proxy: Proxy, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, bytes]:
    host, port = proxy.endpoint.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    try:
        named = {"Authorization": CREDENTIALS} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.fixture
def key(s3_proxy: Proxy, s3_bucket: str) -> str:
    path = f"/{s3_bucket.removeprefix('s3://')}/a"
    assert ask(s3_proxy, "PUT", path, b"0123456789")[0] == 200
    s3_proxy.clear()
    return path


def test_without_a_plan_everything_passes_with_conditions_and_ranges(
    s3_proxy: Proxy, key: str
) -> None:
    assert ask(s3_proxy, "GET", key) == (200, b"0123456789")
    assert ask(s3_proxy, "GET", key, Range="bytes=2-4") == (206, b"234")
    assert ask(s3_proxy, "PUT", key, b"x", If_None_Match="*")[0] == 412
    assert ask(s3_proxy, "GET", key, If_Match='"other"')[0] == 412
    assert ask(s3_proxy, "HEAD", key) == (200, b"")
    assert not s3_proxy.injected


def test_the_nth_matching_request_is_struck(s3_proxy: Proxy, key: str) -> None:
    s3_proxy.plan(Fault("503", "GET", "/a$", at=2, times=2))
    found = [ask(s3_proxy, "GET", key)[0] for _ in range(4)]
    assert found == [200, 503, 503, 200]
    assert s3_proxy.injected == {"503": 2}


def test_each_fault_of_a_connection_is_what_a_client_sees(s3_proxy: Proxy, key: str) -> None:
    s3_proxy.plan(Fault("reset", "GET"))
    with pytest.raises(ConnectionResetError):
        ask(s3_proxy, "GET", key)
    s3_proxy.plan(Fault("stall", "GET", seconds=0.05))
    with pytest.raises(http.client.RemoteDisconnected):
        ask(s3_proxy, "GET", key)
    for kind in ("cut", "stall_body"):
        s3_proxy.plan(Fault(kind, "GET", after=3, seconds=0.05))
        with pytest.raises(http.client.IncompleteRead) as caught:
            ask(s3_proxy, "GET", key)
        assert caught.value.partial == b"012"


def test_a_put_whose_answer_is_lost_was_applied(s3_proxy: Proxy, key: str) -> None:
    s3_proxy.plan(Fault("lost", "PUT"), Fault("lost_500", "PUT", "2$"))
    with pytest.raises(http.client.RemoteDisconnected):
        ask(s3_proxy, "PUT", f"{key}1", b"1")
    assert ask(s3_proxy, "PUT", f"{key}2", b"2")[0] == 500
    assert ask(s3_proxy, "GET", f"{key}1") == (200, b"1")
    assert ask(s3_proxy, "GET", f"{key}2") == (200, b"2")


def test_a_refusal_names_its_code(s3_proxy: Proxy, key: str) -> None:
    s3_proxy.plan(Fault("ExpiredToken", times=FOREVER))
    status, body = ask(s3_proxy, "GET", key)
    assert status == 400
    assert b"<Code>ExpiredToken</Code>" in body


def test_a_storm_strikes_the_same_requests_in_any_order(s3_proxy: Proxy, key: str) -> None:
    names = [f"{key}{i}" for i in range(40)]

    def struck(order: list[str]) -> set[str]:
        s3_proxy.clear()
        s3_proxy.storm(7, 0.3, ("503",))
        return {name for name in order if ask(s3_proxy, "GET", name)[0] == 503}

    first = struck(names)
    assert 4 <= len(first) <= 22
    assert s3_proxy.injected["503"] == len(first)
    s3_proxy.forget()
    assert struck(names[::-1]) == first
