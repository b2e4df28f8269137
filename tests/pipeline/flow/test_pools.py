"""Where actors fit, how wide pools are, and what can never be met: on machines that are numbers."""

from __future__ import annotations

import pytest

from pipeline.flow.pools import Cluster, Node, Width, absent, missing, widths
from pipeline.stages import Stage
from schemas.pools import PoolSpec

GIB = 2**30
SMALL = Node(cpus=4, memory=8 * GIB)
L4 = Node(8, 1, 30 * GIB, frozenset({"L4"}), {"market": "spot"})
A100 = Node(64, 8, 400 * GIB, frozenset({"A100"}), {"market": "on-demand"})


def stages(*pools: PoolSpec) -> list[Stage]:
    last = len(pools) - 1
    return [
        Stage(range(i, i + 1), i == last, pool, f"ops[{i}].resources")
        for i, pool in enumerate(pools)
    ]


def fixed(*nodes: Node) -> Cluster:
    return Cluster(nodes, nodes)


def wide(cluster: Cluster, *pools: PoolSpec, chunks: int = 1000) -> list[Width]:
    return widths(stages(*pools), cluster, chunks)


def said(cluster: Cluster, *pools: PoolSpec) -> str | None:
    return missing(stages(*pools), cluster, [f"op#{i}" for i in range(len(pools))])


@pytest.mark.parametrize(
    ("pool", "nodes", "width"),
    [
        (PoolSpec(pool=(1, 2)), [SMALL], Width(1, 2, 2)),
        (PoolSpec(pool=(6, 8)), [SMALL], Width(4, 4, 4)),
        (PoolSpec(pool=(1, 9), cpus=0.5), [SMALL], Width(1, 8, 8)),
        (PoolSpec(pool=(1, 9), cpus=3), [SMALL, SMALL], Width(1, 2, 2)),  # none on two nodes
        (PoolSpec(pool=(1, 9), gpus=1), [A100, SMALL], Width(1, 8, 8)),
        (PoolSpec(pool=(1, 99), gpus=0.4, cpus=1), [A100], Width(1, 16, 16)),  # two a device
        (PoolSpec(pool=(1, 99), gpus=1 / 3, cpus=1), [L4], Width(1, 3, 3)),
        (PoolSpec(pool=(1, 99), gpus=1, accelerator="L4"), [A100, L4, L4], Width(1, 2, 2)),
        (PoolSpec(pool=(1, 99), labels={"market": "spot"}), [A100, L4], Width(1, 8, 8)),
        (PoolSpec(pool=(1, 99), memory="3GiB"), [SMALL, L4], Width(1, 10, 10)),
    ],
)
def test_a_pool_starts_at_full_width_where_the_cluster_has_room(
    pool: PoolSpec, nodes: list[Node], width: Width
) -> None:
    assert said(fixed(*nodes), pool) is None
    assert wide(fixed(*nodes), pool) == [width]


def test_all_stages_find_room_and_each_may_grow_into_what_the_others_leave() -> None:
    cpu, gpu = PoolSpec(pool=(1, 9)), PoolSpec(pool=(1, 9), gpus=1, cpus=2)
    first, second, third = wide(fixed(L4, SMALL), cpu, gpu, cpu)
    assert second == Width(1, 1, 1)
    assert (first.start, third.start) == (5, 5)  # 12 CPUs, of which two are the GPU's actor's
    assert (first.most, third.most) == (9, 9)


def test_a_pool_begins_beside_what_other_jobs_hold_and_never_below_its_least() -> None:
    busy = Cluster((SMALL,), (Node(cpus=1),))
    assert wide(busy, PoolSpec(pool=(2, 4))) == [Width(2, 4, 2)]
    assert wide(busy, PoolSpec(pool=(1, 4))) == [Width(1, 4, 1)]


def test_no_more_actors_start_than_there_are_chunks() -> None:
    assert wide(fixed(SMALL), PoolSpec(pool=(1, 4)), chunks=3) == [Width(1, 4, 3)]
    assert wide(fixed(SMALL), PoolSpec(pool=(2, 4)), chunks=1) == [Width(1, 4, 1)]


def test_on_a_cluster_that_grows_a_pool_may_be_as_wide_as_the_recipe_says() -> None:
    grows = Cluster((L4,), (L4,), grows=True)
    assert wide(grows, PoolSpec(pool=(2, 16), gpus=1)) == [Width(2, 16, 2)]


@pytest.mark.parametrize(
    ("pool", "words"),
    [
        (PoolSpec(gpus=16), ["no machine has more than 8 gpus", "asks for 16 GPUs"]),
        (PoolSpec(cpus=99), ["no machine has more than 64 cpus", "1 x (4 CPUs, 0 GPUs"]),
        (PoolSpec(memory="1TiB"), ["no machine has more than 400.0GiB of memory"]),
        (
            PoolSpec(gpus=1, accelerator="A10"),
            ["no accelerator is called A10, there are A100, L4", "did you mean A100?"],
        ),
        (
            PoolSpec(labels={"market": "spott"}),
            ["no machine carries the label market=spott, which is on-demand or spot"],
        ),
        (PoolSpec(labels={"zone": "a"}), ["no machine carries the label zone=a"]),
        (PoolSpec(gpus=2, accelerator="L4"), ["no one machine has all of it"]),
    ],
)
def test_what_can_never_be_met_is_said_with_what_is_missing_and_what_there_is(
    pool: PoolSpec, words: list[str]
) -> None:
    text = said(fixed(SMALL, L4, A100), PoolSpec(), pool)
    assert text is not None
    assert text.startswith("ops[1].resources: no machine can hold one actor of op#1")
    for word in [*words, "there are"]:
        assert word in text
    assert "op#0" not in text


def test_stages_that_fit_only_one_at_a_time_are_refused_for_they_run_at_once() -> None:
    text = said(fixed(SMALL), PoolSpec(cpus=3), PoolSpec(cpus=2))
    assert text is not None
    assert "one actor of every stage at once does not fit" in text
    assert said(fixed(SMALL, SMALL), PoolSpec(cpus=3), PoolSpec(cpus=2)) is None


def test_what_an_autoscaler_may_bring_counts_and_what_nobody_knows_is_waited_for() -> None:
    needs = PoolSpec(gpus=8)
    known = Cluster((SMALL,), (SMALL,), grows=True, groups=(A100,))
    too_small = Cluster((SMALL,), (SMALL,), grows=True, groups=(L4,))
    unknown = Cluster((SMALL,), (SMALL,), grows=True)
    assert said(known, needs) is None
    assert said(unknown, needs) is None
    assert "no machine has more than 1 gpus" in (said(too_small, needs) or "")
    assert absent(stages(PoolSpec(), needs), known) == stages(PoolSpec(), needs)[1:]
