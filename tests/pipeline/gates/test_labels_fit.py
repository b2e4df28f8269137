"""Labels that a denoiser judges: one that sees paint, and the shipped one on real nuclei."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pipeline.gate import GateContext, Verdict
from pipeline.gates.label_agreement import LabelAgreement
from pipeline.gates.labels_fit import FittersEye
from pipeline.model import FitJob, Fitter, Misfits, Model
from pipeline.models import load_models
from pipeline.samples import load_samples
from schemas.errors import SampleError
from schemas.models import NativeModel
from schemas.recipe import Source
from schemas.sample import ByteArray, Sample
from tests.pipeline.gates.planted import (
    BLACK,
    FREE_BOX,
    SOURCE,
    erased,
    flipped,
    labelled,
    repainted,
    under,
)
from tests.pipeline.gates.seers import PaintFitter
from tests.pipeline.ops.examples import PAINTS, SEG_CLASSES, deep, painted

ROOT = Path(__file__).parents[3]
STRICT = LabelAgreement(model="it", min_fits=1, revert=False)


def judged(
    source: Sample,
    sample: Sample,
    *,
    aligned: bool = True,
    gate: LabelAgreement = STRICT,
    model: Model | None = None,
) -> Verdict:
    context = GateContext(SEG_CLASSES, (aligned,))
    return gate.judge([source], [sample], {"it": model or PaintFitter()}, context)[0]


def without_boxes(sample: Sample) -> Sample:
    return replace(sample, instances=None)


CAUGHT = {
    "erased": (erased(SOURCE, 1), 2 / 3),
    "swapped": (repainted(SOURCE, under(SOURCE, 0), PAINTS[1]), 2 / 3),
    "labels moved": (replace(SOURCE, image_hwc=np.roll(SOURCE.rgb_hwc, 24, axis=0)), 0),
    "black": (BLACK, 0),
    "pasted, and not there": (labelled(SOURCE, FREE_BOX, "disc"), 3 / 4),
}


@pytest.mark.parametrize("case", CAUGHT)
def test_planted_faults_do_not_fit(case: str) -> None:
    sample, fits = CAUGHT[case]
    verdict = judged(SOURCE, sample)
    assert verdict == Verdict("labels_do_not_fit", {"fits": pytest.approx(fits)})


def test_what_is_untouched_fits_and_so_does_what_moved_with_its_labels() -> None:
    assert judged(SOURCE, SOURCE) == Verdict(None, {"fits": 1.0})
    assert judged(SOURCE, flipped(SOURCE), aligned=False).kept


def test_without_boxes_the_pieces_of_the_class_map_are_judged() -> None:
    source = without_boxes(SOURCE)
    assert judged(source, source) == Verdict(None, {"fits": 1.0})
    for fault in ("erased", "swapped"):
        verdict = judged(source, without_boxes(CAUGHT[fault][0]))
        assert verdict.scores == {"fits": pytest.approx(2 / 3)}


def test_what_does_not_fit_is_put_back_from_the_source() -> None:
    verdict = judged(SOURCE, erased(SOURCE, 1), gate=LabelAgreement(model="it"))
    assert verdict.kept
    assert verdict.scores == {"fits": 1, "reverted": 1, "reverted_share": pytest.approx(1 / 3)}
    assert verdict.mended is not None
    assert np.array_equal(verdict.mended.image_hwc, SOURCE.image_hwc)


def test_a_sample_with_nothing_in_it_is_not_asked_about() -> None:
    bare = painted(boxes=False, class_map=False)
    assert judged(bare, bare) == Verdict(None, {})
    empty = replace(SOURCE, instances=SOURCE.objects.take([]))
    assert judged(empty, empty, model=Refusing()) == Verdict(None, {"fits": 1.0})


class Refusing(PaintFitter):
    """Cannot carry anything."""

    def misfits(self, jobs: Sequence[FitJob]) -> list[Misfits | SampleError]:
        return [SampleError("unknown_class") for _ in jobs]


def test_what_the_model_cannot_carry_is_not_kept() -> None:
    verdict = judged(SOURCE, SOURCE, model=Refusing(), gate=LabelAgreement(model="it"))
    assert verdict == Verdict("not_judged", {"not_judged": 1.0})


def test_a_source_and_its_copies_are_asked_with_the_same_noise() -> None:
    seen = PaintFitter()
    judged(SOURCE, erased(SOURCE, 1), model=seen)
    assert len(set(seen.noises)) == 1
    other = replace(SOURCE, key="another")
    judged(other, other, model=seen)
    assert len(set(seen.noises)) == 2


@cache
def nuclei() -> tuple[Sample, Fitter]:
    """A corner of a real image that the shipped denoiser was not trained on, and that denoiser."""
    torch.set_num_threads(1)
    source = Source.model_validate(
        {
            "shards": str(ROOT / "data/nuclei/val-*.tar"),
            "segmentation": "seg.png",
            "seg_classes": ["background", "nucleus"],
        }
    )
    sample = load_samples(source)[0][2]
    model = load_models({"it": NativeModel(native=str(ROOT / "weights/nuclei/denoiser"))}, "cpu")
    fitter = model["it"]
    assert isinstance(fitter, Fitter)
    return corner(sample, 128), fitter


def corner(sample: Sample, side: int) -> Sample:
    objects, ids = sample.objects, sample.class_map_hw
    assert ids is not None
    inside = [i for i, box in enumerate(objects.boxes_n4) if box.max() <= side]
    image: ByteArray = np.ascontiguousarray(sample.rgb_hwc[:side, :side])
    return replace(
        sample,
        image_hwc=image,
        instances=objects.take(inside),
        class_map_hw=ids[:side, :side],
    )


def wiped(sample: Sample, i: int) -> Sample:
    """A real object painted over from around it; its label stays."""
    hole = np.zeros((sample.height, sample.width), np.uint8)
    x0, y0, x1, y1 = sample.objects.boxes_n4[i].astype(int)
    hole[max(y0 - 3, 0) : y1 + 4, max(x0 - 3, 0) : x1 + 4] = 1
    image = cv2.inpaint(sample.rgb_hwc, hole, 5, cv2.INPAINT_TELEA)
    return replace(sample, image_hwc=np.asarray(image, np.uint8))


def test_the_shipped_denoiser_tells_real_nuclei_from_others() -> None:
    source, model = nuclei()
    mirrored: ByteArray = np.ascontiguousarray(source.rgb_hwc[:, ::-1])
    planted = [
        source,
        replace(source, image_hwc=mirrored),
        replace(source, image_hwc=np.zeros_like(source.image_hwc)),
    ]
    context = GateContext(("background", "nucleus"), (True,) * len(planted))
    gate = LabelAgreement(model="it", revert=False)
    verdicts = gate.judge([source] * len(planted), planted, {"it": model}, context)
    assert [one.reason for one in verdicts] == [None, "labels_do_not_fit", "labels_do_not_fit"]
    assert verdicts[0].scores == {"fits": 1.0}
    assert verdicts[1].scores["fits"] <= 0.5


def test_a_real_nucleus_that_is_wiped_out_is_put_back() -> None:
    source, model = nuclei()
    (untouched,) = FittersEye([source], [True], model).see([0], [source])
    i = [one.expected for one in untouched.objects].index(1.0)
    sample = wiped(source, i)
    verdict = judged(source, sample, model=model, gate=LabelAgreement(model="it"))
    assert verdict.kept
    assert verdict.scores["reverted"] >= 1
    assert verdict.mended is not None
    x0, y0, x1, y1 = source.objects.boxes_n4[i].astype(int)
    place = slice(y0, y1), slice(x0, x1)
    assert np.array_equal(verdict.mended.image_hwc[place], source.image_hwc[place])


def test_a_deep_image_is_judged_as_any_other() -> None:
    assert judged(deep(SOURCE), deep(SOURCE)) == Verdict(None, {"fits": 1.0})
