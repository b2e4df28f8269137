"""A bad network and a bad day at the store: an HTTP proxy which injects faults by a plan.

    with faulty(s3.host, s3.port) as proxy:
        environment = s3.environment(proxy.endpoint)       # also for child processes
        proxy.plan(Fault("503", "GET", r"shards/.*", at=2, times=3))
        ...
        assert proxy.injected["503"] == 3

Every fault counts the requests that match its method and path, from the moment it is planned, and
strikes from the `at`-th on, `times` times; a request is struck by the first fault that is due.
`storm` strikes at random: which requests is decided by the seed, the method, the path and how often
that was asked before, so it does not depend on the order among threads and processes.
Everything else passes as it came: conditional headers, ranges, the body.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, cast

Kind = Literal[
    "500",
    "503",
    "429",
    "reset",  # the connection is reset before any answer
    "stall",  # no answer for `seconds`, then the connection ends
    "cut",  # forwarded; the connection ends in the middle of the answer's body
    "stall_body",  # forwarded; nothing more comes in the middle of the answer's body
    "lost",  # forwarded and applied; the connection ends without an answer
    "lost_500",  # forwarded and applied; the answer is 500
    "ExpiredToken",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "AccessDenied",
    "RequestTimeTooSkewed",
    "NoSuchBucket",
    "409",
]

ERRORS: dict[str, tuple[int, str, str]] = {
    "500": (500, "InternalError", "We encountered an internal error. Please try again."),
    "503": (503, "SlowDown", "Please reduce your request rate."),
    "429": (429, "TooManyRequests", "Please reduce your request rate."),
    "409": (409, "ConditionalRequestConflict", "The conditional request cannot succeed."),
    "lost_500": (500, "InternalError", "We encountered an internal error. Please try again."),
    "ExpiredToken": (400, "ExpiredToken", "The provided token has expired."),
    "InvalidAccessKeyId": (
        403,
        "InvalidAccessKeyId",
        "The AWS Access Key Id you provided does not exist in our records.",
    ),
    "SignatureDoesNotMatch": (
        403,
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided.",
    ),
    "AccessDenied": (403, "AccessDenied", "Access Denied"),
    "RequestTimeTooSkewed": (
        403,
        "RequestTimeTooSkewed",
        "The difference between the request time and the current time is too large.",
    ),
    "NoSuchBucket": (404, "NoSuchBucket", "The specified bucket does not exist"),
}
"""Status, code and message, as Amazon S3 gives them (the answer to a HEAD has no body)."""

SECRETS = (
    "<AWSAccessKeyId>AKIAPLANTEDPLANTED01</AWSAccessKeyId><Token-0>planted-token</Token-0>"
    "<StringToSign>planted-string</StringToSign>"
)
"""What the real answers to refused requests hold; none of it may reach a message."""

FOREVER = 1_000_000_000
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


@dataclass
class Fault:
    """One line of the plan. `path` is searched for (a regex) in the request's path and query."""

    kind: Kind
    method: str = ""
    path: str = ""
    at: int = 1
    times: int = 1
    after: int | None = None  # cut, stall_body: bytes of the body that still come, half at most
    seconds: float = 60.0  # stall, stall_body
    seen: int = field(default=0, init=False)

    def due(self, method: str, path: str) -> bool:
        """Whether it strikes this request; counts it."""
        if (self.method and method != self.method) or not re.search(self.path, path):
            return False
        self.seen += 1
        return self.at <= self.seen < self.at + self.times


class Proxy:
    """The proxy: what it does to requests, and what it did."""

    def __init__(self, host: str, port: int) -> None:
        self.upstream = host, port
        self.injected: Counter[str] = Counter()
        self.requests: list[tuple[str, str]] = []
        self.ranges: list[str] = []
        self.over = threading.Event()
        self._faults: list[Fault] = []
        self._storm: tuple[int, float, Sequence[Kind], str] | None = None
        self._asked: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def plan(self, *faults: Fault) -> None:
        """Adds faults to the plan."""
        with self._lock:
            self._faults += faults

    def storm(
        self,
        seed: int,
        share: float,
        kinds: Sequence[Kind] = ("500", "503", "reset", "cut", "lost", "lost_500"),
        path: str = "",
    ) -> None:
        """From now on, `share` of all requests for `path` are struck, by one of `kinds` each."""
        with self._lock:
            self._storm = seed, share, kinds, path

    def clear(self) -> None:
        """Fair weather: no more faults, counters at 0."""
        with self._lock:
            self._faults, self._storm = [], None
            self.injected.clear()
            self.requests.clear()
            self.ranges.clear()

    def forget(self) -> None:
        """A storm counts how often a request was asked from here on."""
        with self._lock:
            self._asked.clear()

    def close(self) -> None:
        """Stops; requests that are stalled are let go."""
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fault_for(self, method: str, path: str) -> Fault | None:
        """What happens to this request."""
        with self._lock:
            self.requests.append((method, path))
            due = [fault for fault in self._faults if fault.due(method, path)]
            fault = due[0] if due else self._thrown(method, path)
            if fault is not None:
                self.injected[fault.kind] += 1
            return fault

    def _thrown(self, method: str, path: str) -> Fault | None:
        if self._storm is None:
            return None
        seed, share, kinds, where = self._storm
        nth = self._asked[method, path]
        self._asked[method, path] += 1
        name = f"{seed}\0{method}\0{path}\0{nth}".encode()
        number = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest())
        if not re.search(where, path) or number % 1_000_003 >= share * 1_000_003:
            return None
        return Fault(kinds[number // 1_000_003 % len(kinds)])


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    proxy: Proxy

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients go away in the middle; that is what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""

    def handle_one_request(self) -> None:
        """As the base, but for any method."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        self._pass(cast(_Server, self.server).proxy)
        self.wfile.flush()

    def _pass(self, proxy: Proxy) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        proxy.ranges += [self.headers["Range"]] if "Range" in self.headers else []
        fault = proxy.fault_for(self.command, self.path)
        kind = fault.kind if fault is not None else None
        if kind == "reset":
            self._reset()
        elif fault is not None and kind == "stall":
            proxy.over.wait(fault.seconds)
            self._hang_up()
        elif kind in ERRORS and kind != "lost_500":
            self._refuse(kind)
        else:
            status, headers, answer = self._forward(proxy, body)
            if kind == "lost":
                self._hang_up()
            elif kind == "lost_500":
                self._refuse(kind)
            else:
                cut = fault is not None and status < 300 and answer
                self._answer(status, headers, answer, fault if cut else None, proxy)

    def _forward(self, proxy: Proxy, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(*proxy.upstream, timeout=60)
        try:
            headers = {
                name: value for name, value in self.headers.items() if name.lower() != "connection"
            }
            connection.request(self.command, self.path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _answer(
        self,
        status: int,
        headers: list[tuple[str, str]],
        body: bytes,
        fault: Fault | None,
        proxy: Proxy,
    ) -> None:
        length = next((v for k, v in headers if k.lower() == "content-length"), str(len(body)))
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", length if self.command == "HEAD" else str(len(body)))
        self.end_headers()
        if fault is None:
            self.wfile.write(body)
            return
        half = len(body) // 2
        self.wfile.write(body[: half if fault.after is None else min(half, fault.after)])
        self.wfile.flush()
        if fault.kind == "stall_body":
            proxy.over.wait(fault.seconds)
        self._hang_up()

    def _refuse(self, kind: str) -> None:
        status, code, text = ERRORS[kind]
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code>'
            f"<Message>{text}</Message>{SECRETS}<RequestId>0123456789ABCDEF</RequestId></Error>"
        ).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def _reset(self) -> None:
        # SO_LINGER 0: closing sends RST instead of FIN
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


@contextmanager
def faulty(host: str, port: int) -> Iterator[Proxy]:
    """A proxy in front of host:port, for as long as the block lasts."""
    proxy = Proxy(host, port)
    try:
        yield proxy
    finally:
        proxy.close()
