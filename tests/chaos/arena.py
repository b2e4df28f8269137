"""Where scenarios happen: sources, an S3 server behind its proxy, one Ray, undisturbed results.

An `Arena` is for many cases; a `Stage` is for one: a fresh sink, a folder with a recipe, a reader
that looks on. All of it is lazy: S3, Ray and a model are only started by the scenario that asks.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from obstore.store import S3Store

from tests.chaos.cluster import QUIET, Node, busy, ray_folder, start_node
from tests.chaos.laws import Published, published
from tests.chaos.orders import VARIABLE, Orders
from tests.chaos.reader import BucketView, DiskView, View
from tests.chaos.stage import Kind, Stage, Store
from tests.jobs.workplace import CLASSIC, OPS, ROOT, Workplace, workplace, write_source
from tests.mounts import small_disk
from tests.pipeline.shards import sample_files, tar_of
from tests.s3.proxy import Proxy, faulty
from tests.s3.server import FOREIGN, S3, serve

if TYPE_CHECKING:
    from tests.jobs.mlflow_server import MlflowServer

INSIDE: Final = ROOT / "tests" / "chaos" / "inside"

DISK_SIZE: Final = "24m"
"""Of a small disk: three times what a run leaves."""

SPILL_SIZE: Final = "8m"
SMALLEST_STORE: Final = 75 * 1024 * 1024
"""Bytes; Ray takes no smaller one."""


class Arena:
    """Everything that cases share. Use it as a context."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.orders = Orders(folder / "orders")
        self._stack = ExitStack()
        self._node: Node | None = None
        self._undisturbed: dict[Kind, tuple[Published, float]] = {}
        self._cases = 0
        self._before = dict(os.environ)

    def __enter__(self) -> Arena:
        self.orders.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._node is not None:
            self._node.kill()
        self._stack.close()
        os.environ.clear()
        os.environ.update(self._before)

    @cached_property
    def source(self) -> Path:
        """Two shards of 18 samples, a third one that few scenarios use, and tiny models."""
        folder = self.folder / "source"
        folder.mkdir()
        files = [file for n in range(6) for file in sample_files(f"o{n}", 104, width=128)]
        (folder / "other-0.tar").write_bytes(tar_of(files))
        return write_source(folder)

    @cached_property
    def s3(self) -> S3:
        """The server; this process sees it without the proxy."""
        server = self._stack.enter_context(serve())
        for name in FOREIGN:
            os.environ.pop(name, None)
        os.environ.update(server.environment())
        return server

    @cached_property
    def source_bucket(self) -> str:
        """The same shards in S3."""
        url = self.s3.bucket()
        for path in sorted(self.source.glob("*.tar")):
            _bucket(self.s3, url).put(path.name, path.read_bytes())
        return url

    @cached_property
    def proxy(self) -> Proxy:
        """What every run goes through to the server."""
        return self._stack.enter_context(faulty(self.s3.host, self.s3.port))

    @cached_property
    def mlflow(self) -> MlflowServer:
        """An MLflow server, up."""
        from tests.jobs.mlflow_server import MlflowServer

        folder = self.folder / "mlflow"
        folder.mkdir()
        server = MlflowServer(folder)
        self._stack.callback(server.kill)
        server.start()
        return server

    @cached_property
    def ray(self) -> Path:
        """Ray's folder."""
        return self._stack.enter_context(ray_folder())

    def environment(self) -> dict[str, str]:
        """What every process of a run gets: the door for orders, and the way to S3."""
        own = {"PYTHONPATH": f"{INSIDE}{os.pathsep}{ROOT}", VARIABLE: str(self.orders.folder)}
        return {**QUIET, **own, **self.s3.environment(self.proxy.endpoint)}

    def node(self) -> Node:
        """The Ray that runs join: the one there is, or a new one."""
        if self._node is None or not self._node.lives:
            self._node = start_node(self.ray, self.environment(), cpus=3)
        return self._node

    def lose_node(self) -> None:
        """The Ray that runs joined is gone; the next one that asks gets another."""
        if self._node is not None:
            self._node.kill()

    @contextmanager
    def stage(self, kind: Kind, name: str, tracking: str = "null") -> Iterator[Stage]:
        """A place for one case; its orders, faults and workers end with the block."""
        self._cases += 1
        folder = self.folder / f"{self._cases:04d}-{name}"
        folder.mkdir()
        with ExitStack() as stack:
            if kind.store == "small":
                stack.enter_context(small_disk(folder / "disk", DISK_SIZE))
            node = None if kind.embedded else self._ray_of(kind, folder, stack)
            second = None
            if kind.second_node and node is not None:
                second = start_node(self.ray, self.environment(), 3, node.address)
                stack.callback(second.kill)
            sink, view = self._sink(kind, folder)
            place = self.place(kind, folder, sink, node, tracking)
            proxy = self.proxy if kind.store == "s3" else None
            self.orders.clear()
            stack.callback(self._settle)
            yield Stage(name, kind, place, sink, view, self.orders, proxy, node, second)

    def _ray_of(self, kind: Kind, folder: Path, stack: ExitStack) -> Node:
        if not kind.small_spill:
            return self.node()
        spill = stack.enter_context(small_disk(folder / "spill", SPILL_SIZE))
        own = (f"--object-store-memory={SMALLEST_STORE}", f"--object-spilling-directory={spill}")
        ray = stack.enter_context(ray_folder())
        node = start_node(ray, self.environment(), cpus=3, arguments=own)
        stack.callback(node.kill)
        return node

    def place(
        self, kind: Kind, folder: Path, sink: str, node: Node | None, tracking: str = "null"
    ) -> Workplace:
        """A folder with this kind's recipe."""
        source = self.source_bucket if kind.store == "s3" else str(self.source)
        joined = {} if node is None else {"RAY_ADDRESS": node.address}
        place = workplace(
            folder,
            source,
            ops=CLASSIC if kind.ops == "classic" else OPS,
            pool=kind.pool,
            sink=sink,
            tracking=tracking,
            more="budget: {failed: 1}",
            environment=self.environment() | joined,
        )
        recipe = folder / "cells.yaml"
        shards = ", ".join(f"'{source}/{name}.tar'" for name in kind.shards)
        text = recipe.read_text().replace(f"'{source}/train-*.tar'", f"[{shards}]")
        recipe.write_text(text)
        return place

    def _sink(self, kind: Kind, folder: Path) -> tuple[str, View]:
        if kind.store == "s3":
            url = self.s3.bucket()
            return url, BucketView(_bucket(self.s3, url))
        sink = folder / "disk" / "out" if kind.store == "small" else folder / "out"
        return str(sink), DiskView(sink)

    def _settle(self) -> None:
        """No order and no fault any more; and no worker of the shared Ray is at work."""
        self.orders.withdraw()
        self.proxy.clear()
        deadline = time.monotonic() + 60
        while self._node is not None and self._node.lives and time.monotonic() < deadline:
            if not busy(self._node.process.pid):
                return
            time.sleep(0.1)
        self.lose_node()

    def undisturbed(self, kind: Kind) -> tuple[Published, float]:
        """What a run of this kind leaves where nobody interferes, and its seconds."""
        store: Store = "s3" if kind.store == "s3" else "disk"
        kind = Kind(kind.ops, store, kind.embedded, shards=kind.shards)
        if kind not in self._undisturbed:
            with self.stage(kind, "undisturbed") as stage:
                ended = stage.run()
                if ended.code != 0:
                    raise RuntimeError(f"the undisturbed run failed: {ended.said}")
                self._undisturbed[kind] = published(stage.view), ended.seconds
                shutil.rmtree(stage.place.folder)
        return self._undisturbed[kind]


def _bucket(server: S3, url: str) -> S3Store:
    environment: Mapping[str, str] = server.environment()
    return S3Store(
        url.removeprefix("s3://"),
        endpoint=environment["AWS_ENDPOINT_URL"],
        region=environment["AWS_REGION"],
        access_key_id=environment["AWS_ACCESS_KEY_ID"],
        secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        client_options={"allow_http": True},
    )
