"""Fixtures that more than one folder of tests uses. Heavy imports are made where they are used."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.s3.proxy import Proxy, faulty
from tests.s3.server import FOREIGN, S3, serve


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    """An S3 server for the whole session; starting it takes a second or two."""
    with serve() as server:
        yield server


@pytest.fixture
def s3_proxy(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy in front of it that fails on demand; the environment leads to it."""
    with faulty(s3_server.host, s3_server.port) as proxy:
        for name in FOREIGN:
            monkeypatch.delenv(name, raising=False)
        for name, value in s3_server.environment(proxy.endpoint).items():
            monkeypatch.setenv(name, value)
        yield proxy


@pytest.fixture
def s3_bucket(s3_server: S3, s3_proxy: Proxy) -> str:
    """The URL of an empty bucket of its own, behind the proxy."""
    return s3_server.bucket()
