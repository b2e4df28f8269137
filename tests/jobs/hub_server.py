"""A hub on loopback: repositories of files at one commit, by the protocol that the hub's client
speaks. It counts what is asked of it.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Hub:
    """Files by (repository, path), all at one commit."""

    commit: str
    files: Mapping[tuple[str, str], bytes]
    port: int = 0
    asked: list[str] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """The hub, up."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            path = self.path.partition("?")[0]
            hub.asked.append(path)
            found = _info(hub, path) if path.startswith("/api/") else _file(hub, path)
            if found is None:
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("X-Repo-Commit", hub.commit)
            self.send_header("ETag", f'"{_tag(found)}"')
            self.send_header("Content-Length", str(len(found)))
            self.end_headers()
            if body:
                self.wfile.write(found)

        def log_message(self, format: str, *args: object) -> None:
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.port = server.server_port
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _info(hub: Hub, path: str) -> bytes | None:
    """`/api/models/<owner>/<name>/tree/<commit>`: every file of the repository."""
    repo, _, revision = path.removeprefix("/api/models/").partition("/tree/")
    found = {name: data for (of, name), data in hub.files.items() if of == repo}
    if not found or revision != hub.commit:
        return None
    return json.dumps(
        [
            {"type": "file", "path": name, "size": len(data), "oid": _tag(data)}
            for name, data in found.items()
        ]
    ).encode()


def _tag(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def _file(hub: Hub, path: str) -> bytes | None:
    """`/<owner>/<name>/resolve/<commit>/<file>`."""
    repo, _, rest = path.strip("/").partition("/resolve/")
    revision, _, name = rest.partition("/")
    return hub.files.get((repo, name)) if revision == hub.commit else None
