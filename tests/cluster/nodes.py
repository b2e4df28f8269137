"""A Ray cluster of two nodes on loopback as people run one: token on, dashboard on, own ports."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.cluster import Node, ray_folder, start_node

CPUS = 3
PATIENT = {"RAY_raylet_start_wait_time_s": "240"}
"""Two nodes that start beside other tests need more than Ray's 30 s."""


@dataclass(frozen=True)
class Cluster:
    """Two nodes. `variables` are what a client needs to be let in."""

    head: Node
    second: Node
    address: str
    variables: dict[str, str]


@contextmanager
def two_nodes(environment: Mapping[str, str]) -> Iterator[Cluster]:
    """Up inside the block. `environment`: of every process of the cluster, besides our own."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    scripts = str(Path(sys.executable).parent)
    path = {"PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}"}  # the job's `noiseloom`
    inside = {**PATIENT, **path, **token, **environment}
    with ExitStack() as stack:
        folder = stack.enter_context(ray_folder())
        dashboard, client, *agents = free_ports(4)
        serving = (
            "--include-dashboard=true",
            "--dashboard-host=127.0.0.1",
            f"--dashboard-port={dashboard}",
            f"--ray-client-server-port={client}",
        )
        head = start_node(folder, inside, CPUS, None, (*serving, *_own(agents[0])))
        stack.callback(head.kill)
        second = start_node(folder, inside, CPUS, head.address, _own(agents[1]))
        stack.callback(second.kill)
        address = f"http://127.0.0.1:{dashboard}"
        yield Cluster(head, second, address, {**token, "RAY_API_SERVER_ADDRESS": address})


def _own(agent: int) -> tuple[str, ...]:
    return (
        "--node-ip-address=127.0.0.1",
        f"--dashboard-agent-listen-port={agent}",
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--disable-usage-stats",
    )


def free_ports(number: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody has; different ones."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
