"""The chain without Ray: what becomes of every copy of a chunk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from numpy.random import Generator

from pipeline.chain.weave import RunContext, WovenCopy, weave_chunk
from pipeline.gate import Gate, GateContext, Measured
from pipeline.gates.fidelity import Fidelity
from pipeline.model import Models
from pipeline.op import Draw, LabelContract, Op, Outcome, Peers
from pipeline.recipe import FullRecipe
from pipeline.seeds import noise_seed, rng_for
from pipeline.source.plan import EncodedSample
from schemas.errors import SampleError
from schemas.index import Repair
from schemas.recipe import RepairPolicies
from schemas.sample import Sample
from schemas.spec import Spec
from tests.pipeline.shards import labels, png, sample_files

CONTEXT = RunContext("run-1", "recipe-1", "chunk-1")


class Speckle(Op):
    """Adds noise of a drawn strength; refuses samples of these keys, in `draw` or in `apply`."""

    kind: Literal["speckle"] = "speckle"
    model: str | None = None
    not_drawn: tuple[str, ...] = ()
    not_applied: tuple[str, ...] = ()
    nothing_to_do: tuple[str, ...] = ()
    contract: LabelContract = "kept"
    batches: ClassVar[list[list[str]]] = []

    @property
    def labels(self) -> LabelContract:
        return self.contract

    def draw(self, sample: Sample, rng: Generator, peers: Peers) -> Draw | None:
        if sample.key in self.not_drawn:
            raise SampleError("too_dark", "mean 3")
        if sample.key in self.nothing_to_do:
            return None
        return {"strength": float(rng.uniform(1, 9)), "noise": noise_seed(rng), "at": (1, 2)}

    def apply(
        self, samples: Sequence[Sample], draws: Sequence[Draw], models: Models, peers: Peers
    ) -> list[Outcome]:
        self.batches.append([f"{sample.key}-{sample.lineage.copy}" for sample in samples])
        assert all(draw["at"] == [1, 2] for draw in draws), "draws as a replay reads them"
        return [self._one(*pair) for pair in zip(samples, draws, strict=True)]

    def _one(self, sample: Sample, draw: Draw) -> Outcome:
        if sample.key in self.not_applied:
            return SampleError("no_room")
        noise = np.random.default_rng(draw["noise"]).normal(0, draw["strength"], (1, 1, 3))
        image = np.clip(sample.image_hwc + noise, 0, 255).astype(np.uint8)
        return replace(sample, image_hwc=image)


class Shift(Speckle):
    """The same, but it says that it moves things."""

    contract: LabelContract = "moved"


class Half(Speckle):
    """Makes the image smaller without saying that it moves things."""

    def _one(self, sample: Sample, draw: Draw) -> Outcome:
        return replace(sample, image_hwc=sample.image_hwc[::2, ::2], class_map_hw=None)


class Anew(Speckle):
    """Another picture altogether."""

    new_picture: ClassVar[bool] = True


class Dark(Speckle):
    """Makes everything black."""

    def _one(self, sample: Sample, draw: Draw) -> Outcome:
        return replace(sample, image_hwc=np.zeros_like(sample.image_hwc))


class Bright(Gate):
    """Keeps samples of at least this mean."""

    kind: Literal["bright"] = "bright"
    least: float

    def measure(
        self,
        sources: Sequence[Sample],
        samples: Sequence[Sample],
        models: Models,
        context: GateContext,
    ) -> list[Measured]:
        assert [s.key for s in sources] == [s.key for s in samples]
        return [Measured({"mean": float(sample.image_hwc.mean())}) for sample in samples]

    def decide(self, scores: Mapping[str, float]) -> str | None:
        return f"below_{self.least:g}" if scores["mean"] < self.least else None


class Brightening(Gate):
    """Hands everything on, ten steps brighter."""

    kind: Literal["brightening"] = "brightening"

    mends: ClassVar[bool] = True

    def measure(
        self,
        sources: Sequence[Sample],
        samples: Sequence[Sample],
        models: Models,
        context: GateContext,
    ) -> list[Measured]:
        return [Measured({}, replace(s, image_hwc=s.image_hwc + np.uint8(10))) for s in samples]

    def decide(self, scores: Mapping[str, float]) -> str | None:
        return None


class NamedModel:
    """A model that is only a name."""

    digest = "d1d1"
    does = frozenset({"denoise"})


def encoded(key: str, image: bytes | None = None) -> EncodedSample:
    files = {name.partition(".")[2]: data for name, data in sample_files(key)}
    picture = files["png"] if image is None else image
    return EncodedSample(
        key, picture, "png", files["json"], files["seg.png"], f"hash-{key}", "in.tar"
    )


def recipe(ops: Sequence[Op], gates: Sequence[Gate] = (), copies: int = 2) -> FullRecipe:
    """A recipe of ops that only tests have."""
    plain: dict[str, Any] = {"kind": "classic", "transforms": [{"HorizontalFlip": {}}]}
    base = FullRecipe.model_validate(
        {
            "source": {"shards": "in.tar", "segmentation": "seg.png"},
            "sink": "out",
            "seed": 7,
            "copies": copies,
            "ops": [plain],
        }
    )
    parts: dict[str, tuple[Spec, ...]] = {"ops": tuple(ops), "gates": tuple(gates)}
    return base.model_copy(update=parts)


def woven(
    keys: Sequence[str], ops: Sequence[Op], gates: Sequence[Gate] = (), copies: int = 2
) -> list[WovenCopy]:
    samples = [encoded(key) for key in keys]
    return weave_chunk(samples, recipe(ops, gates, copies), {}, CONTEXT)


def test_every_copy_of_every_sample_has_a_row_in_order() -> None:
    rows = [copy.row for copy in woven("ab", [Speckle()])]
    assert [(row.source_key, row.copy) for row in rows] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert {row.status for row in rows} == {"kept"}
    assert [row.key for row in rows] == ["a-000", "a-001", "b-000", "b-001"]
    assert {(row.run, row.recipe, row.chunk, row.seed) for row in rows} == {
        ("run-1", "recipe-1", "chunk-1", 7)
    }
    assert len({row.sample_id for row in rows}) == 4


def test_a_kept_copy_has_its_members_and_labels_and_no_place_yet() -> None:
    copy = woven("a", [Speckle()])[0]
    assert set(copy.members) == {"png", "json", "seg.png"}
    assert copy.row.labels == ("cell", "cell")
    assert copy.row.boxes[0] == (4.0, 5.0, 12.0, 13.0)
    assert (copy.row.width, copy.row.height) == (32, 24)
    assert copy.row.shard is None
    assert copy.row.members == ()


def test_a_copy_does_not_depend_on_the_chunk_around_it() -> None:
    ops = [Speckle(p=0.5), Speckle(p=0.5)]
    together = {(c.row.source_key, c.row.copy): c for c in woven("abcdef", ops, copies=3)}
    for key in "fad":
        for alone in woven(key, ops, copies=3):
            same = together[key, alone.row.copy]
            assert (alone.row, alone.members) == (same.row, same.members)


def test_an_op_is_applied_once_to_all_copies_that_take_it() -> None:
    Speckle.batches.clear()
    rows = [copy.row for copy in woven("abcdef", [Speckle(p=0.5)])]
    taken = [f"{row.source_key}-{row.copy}" for row in rows if row.ops]
    assert Speckle.batches == [taken]
    assert 0 < len(taken) < len(rows)


def test_the_first_number_of_the_generator_of_a_step_decides_whether_it_is_taken() -> None:
    for copy in woven("abcdef", [Speckle(p=0), Speckle(p=0.5)]):
        row = copy.row
        decides = rng_for(7, row.source_key, row.copy, "speckle#1").random() < 0.5
        assert [op.step for op in row.ops] == (["speckle#1"] if decides else [])


def test_a_row_names_every_draw() -> None:
    (op,) = woven("a", [Speckle()], copies=1)[0].row.ops
    draw = json.loads(op.draw)
    rng = rng_for(7, "a", 0, "speckle#0")
    rng.random()
    assert draw == {"strength": rng.uniform(1, 9), "noise": noise_seed(rng), "at": [1, 2]}
    assert (op.kind, op.strength, op.model) == ("speckle", draw["strength"], None)


def test_a_row_names_the_model_by_its_content() -> None:
    ops = [Speckle(model="denoiser")]
    models: Models = {"denoiser": NamedModel()}
    (copy,) = weave_chunk([encoded("a")], recipe(ops, copies=1), models, CONTEXT)
    assert copy.row.ops[0].model == "d1d1"


def test_a_sample_that_cannot_be_decoded_fails_alone() -> None:
    samples = [encoded("a"), encoded("b", image=b"GIF89a"), encoded("c")]
    copies = weave_chunk(samples, recipe([Speckle()]), {}, CONTEXT)
    assert [copy.row.status for copy in copies] == ["kept"] * 2 + ["failed"] * 2 + ["kept"] * 2
    failed = copies[2]
    assert failed.row.reason == "unknown_format"
    assert (failed.row.key, failed.row.ops, failed.sample) == (None, (), None)
    kept = [copy.members for copy in copies if copy.row.status == "kept"]
    assert [copy.members for copy in woven("ac", [Speckle()])] == kept


@pytest.mark.parametrize(
    ("op", "reason", "detail"),
    [
        (Speckle(not_drawn=("b",)), "too_dark", "speckle#1: mean 3"),
        (Speckle(not_applied=("b",)), "no_room", "speckle#1"),
    ],
)
def test_an_op_that_cannot_carry_a_sample_fails_it_alone(op: Op, reason: str, detail: str) -> None:
    copies = woven("abc", [Speckle(), op, Speckle()], copies=1)
    row = copies[1].row
    assert [copy.row.status for copy in copies] == ["kept", "failed", "kept"]
    assert (row.reason, row.detail) == (reason, detail)
    assert [applied.step for applied in row.ops] == ["speckle#0"]


def test_an_op_without_anything_to_do_leaves_the_copy_as_it_is() -> None:
    (copy,) = woven("a", [Speckle(nothing_to_do=("a",))], copies=1)
    assert copy.row.status == "kept"
    assert copy.row.ops == ()
    assert copy.row.psnr == 100


def test_anything_else_that_is_raised_is_not_caught() -> None:
    with pytest.raises(KeyError):
        weave_chunk([encoded("a")], recipe([Speckle(model="gone")]), {}, CONTEXT)


def test_likeness_is_measured_where_pixels_have_counterparts() -> None:
    still = woven("a", [Speckle()])[0].row
    assert still.psnr is not None
    assert still.ssim is not None
    assert 20 < still.psnr < 100
    for op in (Shift(), Half()):
        moved = woven("a", [op])[0].row
        assert (moved.psnr, moved.ssim) == (None, None)


def test_a_new_picture_is_not_held_against_the_source_of_the_sample() -> None:
    gates = [Fidelity(psnr=(90, 100)), Bright(least=0)]
    (new,), (old,) = (woven("a", [op], gates, copies=1) for op in (Anew(), Speckle()))
    assert (new.row.status, new.row.psnr, new.row.ssim) == ("kept", None, None)
    assert [score.gate for score in new.row.scores] == ["bright.mean"]
    assert old.row.reason == "psnr_out_of_range"


def test_the_first_gate_that_rejects_gives_the_reason_and_every_score_is_written() -> None:
    gates = [Bright(least=0), Bright(least=250), Bright(least=260)]
    (copy,) = woven("a", [Speckle()], gates, copies=1)
    assert (copy.row.status, copy.row.reason, copy.row.detail) == (
        "rejected",
        "below_250",
        "bright",
    )
    assert [score.gate for score in copy.row.scores] == ["bright.mean"] * 3
    assert copy.members == {}
    assert copy.row.key is None
    assert copy.row.width == 32


def test_a_gate_that_mends_is_asked_first_and_what_it_hands_on_is_judged_and_stored() -> None:
    (plain,) = woven("a", [Speckle()], [Bright(least=0)], copies=1)
    (copy,) = woven("a", [Speckle()], [Bright(least=0), Brightening()], copies=1)
    assert plain.sample is not None
    assert copy.sample is not None
    assert np.array_equal(copy.sample.image_hwc, plain.sample.image_hwc + np.uint8(10))
    assert copy.row.scores[0].score == pytest.approx(float(copy.sample.image_hwc.mean()))
    assert copy.members["png"] != plain.members["png"]


def test_failed_samples_are_not_judged() -> None:
    copies = woven("ab", [Speckle(not_applied=("b",))], [Bright(least=0)], copies=1)
    assert [len(copy.row.scores) for copy in copies] == [1, 0]


def test_the_first_failed_copy_of_a_sample_has_the_bytes_of_its_source() -> None:
    no_bytes = EncodedSample("c", b"", "png", None, None, "", "", ("member_too_large", "c.png"))
    empty = replace(encoded("d", image=b""), labels=None)
    ops = [Speckle(not_applied=("b",))]
    copies = weave_chunk([encoded("b"), no_bytes, empty], recipe(ops), {}, CONTEXT)
    assert {copy.row.status for copy in copies} == {"failed"}
    files = {name.partition(".")[2]: data for name, data in sample_files("b")}
    assert [copy.members for copy in copies[:4]] == [files, {}, {}, {}]
    assert copies[4].members == {"png": b"", "seg.png": files["seg.png"]}


def test_what_was_mended_in_the_labels_is_in_every_row_of_the_sample() -> None:
    boxes = [(4, 5, 12, 13), (16, 8, 50, 20), (3, 3, 3, 9)]
    sample = replace(encoded("a"), labels=labels(24, 32, boxes))
    policies = RepairPolicies(box_out_of_range="clip", box_empty="drop_box")
    for ops, gates, status in (
        ([Speckle()], [], "kept"),
        ([Speckle()], [Bright(least=250)], "rejected"),
        ([Speckle(not_applied=("a",))], [], "failed"),
    ):
        base = recipe(ops, gates)
        source = base.source.model_copy(update={"repair": policies})
        mending = base.model_copy(update={"source": source})
        rows = [copy.row for copy in weave_chunk([sample], mending, {}, CONTEXT)]
        assert [row.status for row in rows] == [status] * 2
        for row in rows:
            assert row.repairs == (
                Repair("box_out_of_range", "clip", "box 1: [16.0, 8.0, 50.0, 20.0]"),
                Repair("box_empty", "drop_box", "box 2: [3.0, 3.0, 3.0, 9.0]"),
            )
    (strict,) = weave_chunk([sample], recipe([Speckle()], copies=1), {}, CONTEXT)
    assert (strict.row.reason, strict.row.repairs) == ("box_out_of_range", ())


def test_a_model_that_makes_a_picture_black_fails_the_sample_by_name() -> None:
    models: Models = {"denoiser": NamedModel()}
    black = replace(encoded("b"), image=png(np.zeros((24, 32, 3), np.uint8)))

    def reasons(op: Op) -> list[str | None]:
        samples = [encoded("a"), black]
        copies = weave_chunk(samples, recipe([Speckle(), op], copies=1), models, CONTEXT)
        return [copy.row.reason for copy in copies]

    assert reasons(Dark(model="denoiser")) == ["black_output"] * 2
    assert reasons(Dark()) == [None, None]
    copies = weave_chunk([black], recipe([Dark(model="denoiser")], copies=1), models, CONTEXT)
    assert copies[0].row.status == "kept"


def test_a_replay_makes_the_copies_it_names() -> None:
    both = woven("a", [Speckle()])
    (one,) = weave_chunk([encoded("a")], recipe([Speckle()]), {}, CONTEXT, only=[("a", 1)])
    assert (one.row, one.members) == (both[1].row, both[1].members)
