"""Laws of stages: with pools of its own for any op, a recipe makes the same rows and bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline import codec
from pipeline.chain import attempts, weave
from pipeline.chain.attempts import TRIES, begin, excuse, part_attempt, weave_attempt
from pipeline.chain.under_way import begun
from pipeline.chain.weave import WovenCopy, weave_chunk
from pipeline.chain.woven import RunContext
from pipeline.flow.blocks import encoded_block, encoded_samples
from pipeline.flow.under_way_block import samples_under_way, under_way_block
from pipeline.model import Models
from pipeline.op import Op
from pipeline.recipe import FullRecipe, load_recipe
from pipeline.source.plan import EncodedSample
from pipeline.stages import Stage, devices_of, stages_of
from pipeline.storage.store import Store
from schemas.errors import RecipeError
from schemas.sample import Sample
from tests.models import tiny_denoiser, tiny_upscaler
from tests.pipeline.ops.examples import CLASSES, SEG_CLASSES, deep, example_ops, name_of, painted

CONTEXT = RunContext("run", "digest", "chunk")
FLIP = {"kind": "classic", "transforms": [{"HorizontalFlip": {"p": 0.5}}]}
PASTE = {"kind": "copy_paste", "harmonise": 0, "count": [1, 2]}
NOISE = {"kind": "noise_denoise", "model": "denoiser", "strength": [0.2, 0.4], "steps": 2}
FIDELITY = {"kind": "fidelity", "ssim": [0.2, 1]}
GPU, CPU = {"gpus": 1}, {"cpus": 2}
OPS = list({op.kind: op for op in reversed(example_ops())}.values())
"""One of each kind."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    folder = tmp_path_factory.mktemp("models")
    denoiser = tiny_denoiser(folder / "denoiser", CLASSES, SEG_CLASSES)
    with pytest.MonkeyPatch.context() as patch:  # full batches would only cost time
        patch.setattr("pipeline.diffusion.engine.CPU_BATCH_PIXELS", 2 * 64 * 64)
        yield {"denoiser": denoiser, "upscaler": tiny_upscaler(folder / "upscaler")}


def recipe_of(*ops: dict[str, Any], **more: Any) -> FullRecipe:
    source = {"shards": "a.tar", "segmentation": "seg.png"}
    spec = {"source": source, "sink": "o", "copies": 2, "ops": list(ops), **more}
    return FullRecipe.model_validate(spec)


def encoded_of(samples: Sequence[Sample], recipe: FullRecipe) -> list[EncodedSample]:
    out = []
    for sample in samples:
        files = codec.encode(sample, recipe.source)
        members = files["png"], "png", files["json"], files["seg.png"]
        out.append(EncodedSample(sample.key, *members, f"of {sample.key}", "in.tar"))
    return out


@pytest.fixture(scope="module")
def chunk() -> list[EncodedSample]:
    """Masks, boxes alone, gray of 16 bits, no image at all, and one that is only looked at."""
    samples = [
        painted(40, 56, masks=True, key="masks"),
        painted(33, 48, key="boxes"),
        deep(painted(32, 40, key="deep")),
        painted(40, 40, key="looked-at"),
    ]
    encoded = encoded_of(samples, recipe_of(FLIP))
    broken = EncodedSample("broken", b"?", "png", b"{}", None, "of broken", "in.tar")
    return [*encoded[:3], broken, replace(encoded[3], copies=())]


def sent(block: pa.Table) -> pa.Table:
    """Through bytes, as from one process to another."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, block.schema) as writer:
        writer.write_table(block)
    return pa.ipc.open_stream(sink.getvalue()).read_all()


def in_stages(
    encoded: Sequence[EncodedSample], recipe: FullRecipe, models: Models, store: Store
) -> list[WovenCopy]:
    """As a run does it: every stage gets a block, and works under its journal."""
    *others, last = stages_of(recipe)
    items = begun(encoded_samples(sent(encoded_block("c", encoded)))[1], recipe)
    for stage in others:
        items = part_attempt(begun_by(store, stage), items, stage, recipe, models)
        _, items, _ = samples_under_way(sent(under_way_block("c", items, (1.5,))))
    return weave_attempt(begun_by(store, last), items, last, recipe, models, CONTEXT)


def begun_by(store: Store, stage: Stage) -> attempts.Attempt:
    return begin(store, "run", stage.journal("c"), "session")


def told(woven: Sequence[WovenCopy]) -> list[object]:
    return [(copy.row, copy.members) for copy in woven]


@pytest.mark.parametrize("op", OPS, ids=map(name_of, OPS))
def test_an_op_between_two_pools_makes_the_same_rows_and_bytes(
    op: Op, models: Models, chunk: list[EncodedSample], tmp_path: Path
) -> None:
    """Whatever the op hands on; the op behind it looks at the chunk."""
    spec = op.model_dump(mode="json") | ({"steps": 1} if hasattr(op, "steps") else {})
    alike = recipe_of(spec, PASTE, gates=[FIDELITY])
    apart = recipe_of({**spec, "resources": GPU}, {**PASTE, "resources": CPU}, gates=[FIDELITY])
    assert [stage.name(apart) for stage in stages_of(apart)] == [
        f"{op.kind}#0",
        "copy_paste#1",
        "gates",
    ]
    expected = weave_chunk(chunk, alike, models, CONTEXT)
    assert told(in_stages(chunk, apart, models, Store(str(tmp_path)))) == told(expected)


def test_a_copy_that_nothing_touched_travels_without_its_pixels(
    models: Models, chunk: list[EncodedSample]
) -> None:
    idle = recipe_of({**FLIP, "p": 0.0, "resources": GPU}, NOISE)
    first, _ = stages_of(idle)
    items = part_attempt(
        attempts.Attempt(Store("."), "", 0, False), begun(chunk, idle), first, idle, models
    )
    assert {state.now for item in items for state in item.copies} == {None}
    whole = under_way_block("c", items, ())
    assert whole.nbytes < encoded_block("c", chunk).nbytes + 4096


@pytest.mark.parametrize(
    ("pools", "gates", "expected"),
    [
        ([None, None, None], [], ["classic#0 + classic#1 + classic#2"]),
        ([None, None, None], [FIDELITY], ["classic#0 + classic#1 + classic#2 + gates"]),
        ([None, GPU, None], [FIDELITY], ["classic#0", "classic#1", "classic#2 + gates"]),
        ([GPU, GPU, CPU], [], ["classic#0 + classic#1", "classic#2"]),
        ([None, None, GPU], [FIDELITY], ["classic#0 + classic#1", "classic#2", "gates"]),
        ([None, {"cpus": 1}, None], [], ["classic#0 + classic#1 + classic#2"]),
        ([GPU, None, GPU], [], ["classic#0", "classic#1", "classic#2"]),
    ],
)
def test_neighbours_that_ask_for_the_same_share_a_stage(
    pools: list[Any], gates: list[Any], expected: list[str]
) -> None:
    ops = [FLIP if pool is None else {**FLIP, "resources": pool} for pool in pools]
    recipe = recipe_of(*ops, gates=gates)
    stages = stages_of(recipe)
    assert [stage.name(recipe) for stage in stages] == expected
    assert [stage.ends for stage in stages] == [False] * (len(stages) - 1) + [True]
    assert len({stage.journal("c") for stage in stages}) == len(stages)


def test_a_stage_loads_its_own_models_on_its_own_device() -> None:
    scaled = {"kind": "super_resolve", "model": "upscaler", "resources": GPU}
    native = {"denoiser": {"native": "d"}, "upscaler": {"native": "u"}, "idle": {"native": "i"}}
    recipe = recipe_of(NOISE, scaled, models=native)
    first, second = stages_of(recipe)
    assert (first.models(recipe), second.models(recipe)) == ({"denoiser"}, {"upscaler"})
    assert devices_of(recipe) == {"denoiser": "cpu", "upscaler": "cuda"}


def test_no_digest_holds_a_pool() -> None:
    plain = recipe_of(FLIP, NOISE)
    own = recipe_of(FLIP, {**NOISE, "resources": {**GPU, "pool": [1, 8], "labels": {"zone": "a"}}})
    assert own.digest({}) == plain.digest({})
    assert "resources" not in plain.ops[0].model_dump()  # nor in what a lift test digests


@pytest.mark.parametrize(
    ("pool", "said"),
    [
        ("pool: [3, 1]", r"ops\[0\].resources.pool: is \[3, 1\]"),
        ("gpus: 1.5", "above 1 there are whole GPUs only"),
        ("accelerator: L4", "accelerator is L4, and gpus is 0"),
        ("memory: 8GB", "'8GB' is no size; write 8GiB or 900MiB"),
        ("gpu: 1", "did you mean gpus?"),
        ("gpus: 1", "models.d: is used by .* a copy could not be made again"),
    ],
)
def test_a_pool_that_cannot_be_is_a_mistake_in_the_recipe(
    tmp_path: Path, pool: str, said: str
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "source: {shards: a.tar}\nsink: out\nmodels: {d: {native: x}}\nops:\n"
        f"  - {{kind: noise_denoise, model: d, resources: {{{pool}}}}}\n"
        "  - {kind: inpaint, model: d, region: background}\n"
    )
    with pytest.raises(RecipeError, match=said):
        load_recipe(path)


class Death(BaseException):
    """SIGKILL."""


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Keys whose decoding kills, in both places that decode; empty at first."""
    keys: set[str] = set()

    def decode(encoded: EncodedSample, *args: Any) -> Sample:
        if encoded.key in keys and encoded.problem is None:
            raise Death
        return codec.decode(encoded, *args)

    monkeypatch.setattr(weave, "decode", decode)
    monkeypatch.setattr(attempts, "decode", decode)
    return keys


def test_a_killer_in_a_later_stage_is_found_there_and_touched_no_more(
    chunk: list[EncodedSample], tmp_path: Path, deadly: set[str]
) -> None:
    recipe = recipe_of(FLIP, {**PASTE, "resources": CPU}, gates=[FIDELITY])
    first, second, last = stages_of(recipe)
    store = Store(str(tmp_path))
    items = part_attempt(begun_by(store, first), begun(chunk, recipe), first, recipe, {})
    deadly.add("boxes")
    for _ in range(1 + TRIES):
        with pytest.raises(Death):
            part_attempt(begun_by(store, second), items, second, recipe, {})
    items = part_attempt(begun_by(store, second), items, second, recipe, {})
    woven = weave_attempt(begun_by(store, last), items, last, recipe, {}, CONTEXT)
    failed = [copy for copy in woven if copy.row.source_key == "boxes"]
    assert {(copy.row.reason, copy.row.ops) for copy in failed} == {("killed_worker", ())}
    assert failed[0].members["png"] == chunk[1].image
    deadly.clear()
    broken = [replace(s, image=b"?") if s.key == "boxes" else s for s in chunk]
    expected = weave_chunk(broken, recipe, {}, CONTEXT)
    others = [copy for copy in woven if copy.row.source_key != "boxes"]
    assert told(others) == told([c for c in expected if c.row.source_key != "boxes"])


def test_a_stage_that_was_stopped_has_not_died(
    chunk: list[EncodedSample], tmp_path: Path, deadly: set[str]
) -> None:
    recipe = recipe_of(FLIP, {**PASTE, "resources": CPU})
    _, second = stages_of(recipe)
    store = Store(str(tmp_path))
    deadly.add("boxes")
    with pytest.raises(Death):
        weave_attempt(begun_by(store, second), begun(chunk, recipe), second, recipe, {}, CONTEXT)
    excuse(store, "run", ["c"])
    assert not begun_by(store, second).careful
