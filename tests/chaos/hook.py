"""Carries out orders inside a process under test; see tests/chaos/orders.py.

The code of noiseloom knows nothing of it: as one of its modules is imported, the functions named
here are wrapped. A module or a function that is no longer there fails the import loudly, so that a
scenario cannot pass because its fault has stopped happening.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import wraps
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.chaos.orders import Order, Orders, Point, When, ordered

Place = Callable[..., str]
Wrap = Callable[[ModuleType, Orders], None]


def install() -> None:
    """Wraps what is imported from now on."""
    orders = ordered()
    if orders is None:
        return
    sys.meta_path.insert(0, _Finder(orders))
    os.link = _wrapped(orders, os.link, "link", lambda source, target, **_: str(target))
    for name in ("unlink", "remove"):
        setattr(
            os, name, _wrapped(orders, getattr(os, name), "unlink", lambda path, **_: f"{path}")
        )


def _store(module: Any, orders: Orders) -> None:
    def one(store: Any, path: str, *_: object, **__: object) -> str:
        return str(store.at(path))

    def many(store: Any, paths: Sequence[str], *_: object, **__: object) -> str:
        return " ".join(store.at(path) for path in paths)

    module.Store.create = _wrapped(orders, module.Store.create, "create", one)
    module.Store.read = _wrapped(orders, module.Store.read, "read", one)
    module.Store.delete_many = _wrapped(orders, module.Store.delete_many, "delete", many)


def _codec(module: Any, orders: Orders) -> None:
    def place(encoded: Any, *_: object, **__: object) -> str:
        """What already has a problem is not decoded: nobody can die of it."""
        return encoded.key if encoded.problem is None else ""

    module.decode = _wrapped(orders, module.decode, "decode", place)


def _weave(module: Any, orders: Orders) -> None:
    def place(items: Sequence[Any], *_: object, **__: object) -> str:
        return " ".join(item.encoded.key for item in items)

    module.weave_part = _wrapped(orders, module.weave_part, "weave", place)
    module.weave_rest = _wrapped(orders, module.weave_rest, "weave", place)


def _network(module: Any, orders: Orders) -> None:
    """The forward pass of the native network: where memory runs out and numbers go wrong."""
    forward = module.NativeNet.predict

    @wraps(forward)
    def disturbed(net: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        batch = int(x.shape[0])
        actions = {order.action: order for order in _struck(orders, "denoise", f"{batch}")}
        if "oom" in actions and batch > actions["oom"].over:
            import torch

            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB (chaos)")
        out = forward(net, x, *args, **kwargs)
        if "nan" in actions:
            return out * float("nan")
        return _black(net, x, args[0]) if "black" in actions else out

    module.NativeNet.predict = disturbed


def _black(net: Any, x: Any, t: Any) -> Any:
    """The v that leads to black from wherever one is: x0 = alpha x - sigma v lies far below."""
    from pipeline.diffusion.schedule import alpha_sigma

    alpha, sigma = alpha_sigma(t, net.config.shift)
    return (alpha * x + 100) / sigma


_WRAPPERS: dict[str, Wrap] = {
    "pipeline.storage.store": _store,
    "pipeline.codec": _codec,
    "pipeline.chain.weave": _weave,
    "pipeline.diffusion.native": _network,
}


def _wrapped(
    orders: Orders, function: Callable[..., Any], point: Point, place: Place
) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        where = place(*args, **kwargs)
        _carry_out(orders, point, "before", where)
        result = function(*args, **kwargs)
        _carry_out(orders, point, "after", where)
        return result

    return wrapper


def _struck(orders: Orders, point: Point, place: str, when: When = "before") -> list[Order]:
    here = [order for order in orders.all() if (order.point, order.when) == (point, when)]
    return [order for order in here if orders.strikes(order, place)]


def _carry_out(orders: Orders, point: Point, when: When, place: str) -> None:
    for order in _struck(orders, point, place, when):
        match order.action:
            case "note":
                orders.note(f"{point} {place}")
            case "sleep":
                time.sleep(order.seconds)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "kill_driver":
                os.killpg(orders.driver(), signal.SIGKILL)
                time.sleep(order.seconds)
            case "fill":
                fill(Path(order.disk), order.over)
            case "jump":
                time.time = _shifted(time.time, order.seconds)
            case _:
                raise ValueError(f"{order.name}: {order.action} does not happen at {point}")


def fill(disk: Path, free: int) -> None:
    """A file that leaves so many bytes of a disk to others."""
    there = os.statvfs(disk)
    with (disk / "ballast").open("ab") as file, suppress(OSError):  # another process was faster
        file.write(bytes(max(0, there.f_bavail * there.f_frsize - free)))
        file.flush()


def _shifted(clock: Callable[[], float], seconds: float) -> Callable[[], float]:
    return lambda: clock() + seconds


class _Finder(MetaPathFinder):
    """Finds the modules to wrap as Python would, and wraps them once they are there."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        wrap = _WRAPPERS.get(name)
        if wrap is None:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Wrapping(spec.loader, wrap, self._orders)
        return spec


class _Wrapping(Loader):
    """A loader, and then the wrapping."""

    def __init__(self, loader: Loader, wrap: Wrap, orders: Orders) -> None:
        self._loader = loader
        self._wrap = wrap
        self._orders = orders

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._wrap(module, self._orders)
