"""A real S3 protocol server on loopback (moto), in this process, for tests.

    with serve() as s3:
        s3.bucket("lab")
        environment = s3.environment()          # for os.environ, or for a child process
        Store("s3://lab/cells").create(...)

Credentials are not checked by it; `tests/s3/proxy.py` in front of it refuses them. What it holds is
lost when the process ends, and shared by all servers of one process: use a bucket per test.
The fixtures are in `tests/conftest.py`.
"""

from __future__ import annotations

import http.client
import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

ACCESS_KEY = "AKIATESTS3SERVER0000"
SECRET_KEY = "not-a-secret-but-looks-like-one-0123456789"
REGION = "us-east-1"

FOREIGN = (
    "AWS_PROFILE",
    "AWS_READ_TIMEOUT",
    "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT",
    "AWS_ENDPOINT_URL_S3",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "http_proxy",
    "HTTP_PROXY",
    "all_proxy",
    "ALL_PROXY",
)
"""Variables of the machine that a test runs on, which would lead it elsewhere: take them away."""

_buckets = itertools.count()


@dataclass(frozen=True)
class S3:
    """Where the server is."""

    host: str
    port: int

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://{self.host}:{self.port}"

    def environment(self, endpoint: str | None = None) -> dict[str, str]:
        """The variables by which Store finds it; `endpoint` names a proxy in front of it."""
        return {
            "AWS_ENDPOINT_URL": endpoint or self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        }

    def bucket(self, name: str = "") -> str:
        """Makes a bucket, with a name of its own if none is given; returns its URL."""
        name = name or f"bucket-{next(_buckets)}"
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request("PUT", f"/{name}")
            answer = connection.getresponse()
            if answer.status != 200:
                raise RuntimeError(f"no bucket {name}: {answer.status} {answer.read()!r}")
        finally:
            connection.close()
        return f"s3://{name}"


@contextmanager
def serve() -> Iterator[S3]:
    """A server on a free port of 127.0.0.1, without a word on the terminal."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        yield S3(*server.get_host_and_port())
    finally:
        server.stop()
