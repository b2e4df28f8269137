"""What a run finds: the machines that Ray has, those that its autoscaler could bring, and the wait
for the first of them.

Embedded Ray has this machine and no other. A cluster that was joined grows where an autoscaler is
at work: its nodes are of named types (KubeRay, `ray up`), or the autoscaler is the second version,
which answers for itself. What a type could bring is known where the cluster has written it down
(`get_cluster_config`); elsewhere one actor of each stage that has no machine yet is asked for, as a
placement group, and waited for up to `WAIT_S`. That is a request of this job alone: those of other
jobs stay as they are. Where the autoscaler calls it infeasible, the run fails at once.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console

from jobs.ray_session import hush_ray
from pipeline.flow.pools import Cluster, Node, absent, asks, offers
from pipeline.recipe import FullRecipe
from pipeline.stages import Stage
from schemas.errors import RecipeError

WAIT_S: Final = 15 * 60
"""For the first machine of each stage: a cloud takes minutes for a GPU node, and its image more."""

LOOK_EVERY_S: Final = 2.0

_ACCELERATOR: Final = "accelerator_type:"
_GROUP: Final = "ray.io/node-group"
_STATUS: Final = "__autoscaling_status"

_BY_HAND: Final = re.compile(r"node_[0-9a-f]{56}")
"""The type of a node that no autoscaler has started: its own id."""


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def joined() -> bool:
    """Whether a command joins a cluster (`jobs.ray_session`), or has a Ray of its own."""
    return os.environ.get("RAY_ADDRESS", "local") != "local"


def this_machine() -> Cluster:
    """The cluster of an embedded Ray, before it starts: what Ray will find, GPUs included."""
    hush_ray()
    from ray._private.resource_and_label_spec import ResourceAndLabelSpec

    found = ResourceAndLabelSpec(num_cpus=cores())
    found.resolve(is_head=True, node_ip_address="127.0.0.1")
    node = _node(found.to_resource_dict(), found.labels or {})
    return Cluster((node,), (node,))


def ray_cluster() -> Cluster:
    """The cluster that Ray has now; Ray must be up."""
    import ray
    from ray._private.state import available_resources_per_node, state
    from ray.autoscaler.v2.utils import is_autoscaler_v2
    from ray.experimental.internal_kv import _internal_kv_get

    if not joined():
        return this_machine()
    alive = [node for node in ray.nodes() if node["Alive"]]
    free = available_resources_per_node()
    nodes = tuple(_node(node["Resources"], node["Labels"]) for node in alive)
    left = tuple(_node(free.get(n["NodeID"], {}), n["Labels"], n["Resources"]) for n in alive)
    second, status = is_autoscaler_v2(fetch_from_server=True), _internal_kv_get(_STATUS)
    more = grows([node["Labels"] for node in alive], second, status)
    return Cluster(nodes, left, more, _groups(state.get_cluster_config()))


def _node(
    has: Mapping[str, float], labels: Mapping[str, str], whole: Mapping[str, float] | None = None
) -> Node:
    """`whole`: where the type of its accelerators stands, if not in what it has."""
    types = {name.removeprefix(_ACCELERATOR) for name in whole or has if _ACCELERATOR in name}
    return Node(
        has.get("CPU", 0), has.get("GPU", 0), has.get("memory", 0), frozenset(types), dict(labels)
    )


def grows(labels: Sequence[Mapping[str, str]], second: bool, status: bytes | None) -> bool:
    """Whether an autoscaler may bring more machines. `labels`: of the nodes; `second`: whether it
    is the second version; `status`: what the first one reports.
    """
    if second or any(_GROUP in its for its in labels):
        return True
    report = json.loads(status or b"{}").get("autoscaler_report") or {}
    types = {*(report.get("active_nodes") or ()), *(report.get("idle_nodes") or ())}
    return not all(_BY_HAND.fullmatch(name) for name in types)


def _groups(config: Any) -> tuple[Node, ...] | None:
    """The kinds of machines that may come, of a cluster that has them written down."""
    if config is None or not config.node_group_configs:
        return None
    return tuple(
        _node(dict(group.resources), {}) for group in config.node_group_configs if group.max_count
    )


def wait_for_machines(stages: Sequence[Stage], recipe: FullRecipe, console: Console) -> Cluster:
    """The cluster once every stage has a machine that can hold one of its actors; RecipeError where
    none comes.
    """
    cluster = ray_cluster()
    lacking = absent(stages, cluster)
    if not lacking:
        return cluster
    names = ", ".join(stage.name(recipe) for stage in lacking)
    wanted = "; ".join(asks(stage.pool) for stage in lacking)
    console.print(
        f"no machine yet for {names}: asking for {wanted}; up to {WAIT_S // 60} minutes",
        highlight=False,
    )
    with _asked_for(lacking) as groups:
        end = time.monotonic() + WAIT_S
        while lacking:
            refused = _infeasible(groups)
            if refused or time.monotonic() > end:
                why = "no machine that may come" if refused else f"none came in {WAIT_S // 60} min"
                raise RecipeError(_none_came(lacking, recipe, cluster, why))
            time.sleep(LOOK_EVERY_S)
            cluster = ray_cluster()
            lacking = absent(stages, cluster)
    return cluster


def _none_came(lacking: Sequence[Stage], recipe: FullRecipe, cluster: Cluster, why: str) -> str:
    lines = [
        f"{stage.place}: no machine holds one actor of {stage.name(recipe)}, and {why} "
        f"({asks(stage.pool)})"
        for stage in lacking
    ]
    return "\n".join([*lines, f"  there are {offers(cluster.nodes)}"])


@contextmanager
def _asked_for(stages: Sequence[Stage]) -> Iterator[list[Any]]:
    """A placement group for one actor of each stage, which the autoscaler sees as demand."""
    from ray.util import placement_group, remove_placement_group

    groups = [
        placement_group([_bundle(stage)], bundle_label_selector=[dict(stage.pool.labels)])
        for stage in stages
    ]
    try:
        yield groups
    finally:
        for group in groups:
            remove_placement_group(group)


def _bundle(stage: Stage) -> dict[str, float]:
    pool = stage.pool
    asked = {"CPU": pool.cpus, "GPU": pool.gpus, "memory": float(pool.memory_bytes)}
    if pool.accelerator is not None:
        asked[f"{_ACCELERATOR}{pool.accelerator}"] = 0.001
    return {name: amount for name, amount in asked.items() if amount}


def _infeasible(groups: Sequence[Any]) -> bool:
    """Whether the autoscaler says of one of them that no machine that it knows could hold it; only
    the second version says so.
    """
    from ray._private.worker import global_worker
    from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply

    reply = GetClusterStatusReply()
    reply.ParseFromString(global_worker.gcs_client.get_cluster_status(timeout_s=10))
    refused = reply.autoscaling_state.infeasible_gang_resource_requests
    ids = {group.id.hex() for group in groups}
    return any(one in request.details for request in refused for one in ids)
