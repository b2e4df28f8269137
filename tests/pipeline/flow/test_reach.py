"""Folders on clusters: what `ray.nodes()` says, without Ray."""

from __future__ import annotations

import pytest

from pipeline.flow.reach import check_reach, local_places
from pipeline.source.plan import Chunk, Shard
from schemas.errors import RunError


def node(host: str, address: str, alive: bool = True) -> dict[str, object]:
    return {"NodeManagerHostname": host, "NodeManagerAddress": address, "Alive": alive}


def chunk(url: str) -> Chunk:
    return Chunk(Shard(url, 1, url), 0, (), url)


TWO = [node("a", "10.0.0.1"), node("b", "10.0.0.2")]


@pytest.mark.parametrize(
    ("shard", "sink", "places"),
    [
        ("s3://lab/a.tar", "s3://lab/out", []),
        ("s3://lab/a.tar", "out", ["sink: out"]),
        ("s3://lab/a.tar", "file:///out", ["sink: file:///out"]),
        ("/data/a.tar", "gs://lab/out", ["source.shards: /data"]),
        ("data/a.tar", "out", ["sink: out", "source.shards: data"]),
    ],
)
def test_what_is_local_is_named_as_in_the_recipe(shard: str, sink: str, places: list[str]) -> None:
    assert local_places([chunk(shard)], sink) == places


@pytest.mark.parametrize("nodes", [TWO, [node("same", "10.0.0.1"), node("same", "10.0.0.2")]])
def test_a_folder_on_a_cluster_of_several_machines_is_refused(
    nodes: list[dict[str, object]],
) -> None:
    with pytest.raises(
        RunError, match=r"sink: out: is a folder of one machine.*has 2.*10\.0\.0\.2"
    ):
        check_reach(["sink: out"], nodes)
    check_reach([], nodes)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("a", "10.0.0.1")],
        [node("a", "10.0.0.1"), node("a", "10.0.0.1")],
        [node("a", "127.0.0.1"), node("a", "10.0.0.1")],
        [node("a", "10.0.0.1"), node("b", "10.0.0.2", alive=False)],
    ],
)
def test_the_nodes_of_one_machine_are_one(nodes: list[dict[str, object]]) -> None:
    check_reach(["sink: out"], nodes)
