"""An API server that knows RayJobs of one name, on loopback; a night passes with the questions.

It obeys the rules that the starter relies on: a second one of a name is a conflict, what is deleted
stays for a while with its `deletionTimestamp`, and nobody without the token is answered.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ROOT = "/apis/ray.io/v1/namespaces/lab/rayjobs"
TOKEN = "let-me-in"


@dataclass
class Cluster:
    """`asked`: questions until a RayJob has ended, and how it ends. `refuse`: statuses that the
    next requests get instead of an answer. `deleted_after`: questions until somebody deletes it.
    """

    end: dict[str, str] = field(
        default_factory=lambda: {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}
    )
    asked: int = 3
    job: dict[str, Any] | None = None
    refuse: list[int] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    running: int = 0
    most_running: int = 0
    made: int = 0
    left: int = 0
    deleted_after: int | None = None

    def put(self, job: dict[str, Any]) -> None:
        self.made += 1
        metadata = job["metadata"] | {"uid": str(self.made)}
        self.job = job | {"metadata": metadata, "status": {"jobDeploymentStatus": "Running"}}
        self.left = self.asked
        self.running += 1
        self.most_running = max(self.most_running, self.running)

    def passes(self) -> None:
        """A moment."""
        if self.log.count("GET") == self.deleted_after:
            self.job = None
        if self.job is None:
            return
        if "deletionTimestamp" in self.job["metadata"]:
            self.job = None
        elif self.left:
            self.left -= 1
            if not self.left:
                self.job["status"] = dict(self.end)
                self.running -= 1

    def delete(self) -> None:
        assert self.job is not None
        self.job["metadata"]["deletionTimestamp"] = "now"
        self.running -= bool(self.left)


@contextmanager
def serve(cluster: Cluster) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self, status: int, body: object) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def handle_request(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size) or b"{}")
            cluster.log.append(self.command)
            if cluster.refuse:
                self.answer(cluster.refuse.pop(0), {})
            elif self.headers["Authorization"] != f"Bearer {TOKEN}":
                self.answer(403, {})
            elif self.command == "POST":
                assert self.path == ROOT
                taken = cluster.job is not None
                if not taken:
                    cluster.put(body)
                self.answer(409 if taken else 201, cluster.job)
            else:
                assert self.path == f"{ROOT}/noiseloom-cells"
                self.about_one()

        def about_one(self) -> None:
            cluster.passes()
            if cluster.job is None:
                self.answer(404, {})
                return
            if self.command == "DELETE":
                cluster.delete()
            self.answer(200, cluster.job)

        do_GET = do_POST = do_DELETE = handle_request  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
