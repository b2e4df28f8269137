"""The students: small networks that learn from scratch, and any of torchvision's.

`learner` makes a fresh one from torch's global generator, which the caller seeds.
"""

from __future__ import annotations

from pipeline.lift.config import FcosStudent, LiftConfig, TorchvisionStudent, UNetStudent
from pipeline.lift.students.detecting import DetectorLearner, fcos, torchvision_detector
from pipeline.lift.students.learner import Learner
from pipeline.lift.students.segmenting import SegmenterLearner, torchvision_segmenter
from pipeline.lift.students.unet import UNet
from schemas.errors import RecipeError

__all__ = ["Learner", "check_student", "learner"]


def learner(config: LiftConfig, device: str) -> Learner:
    """A student that has learnt nothing yet."""
    student, classes = config.student, config.classes
    if isinstance(student, UNetStudent):
        net = UNet(student.widths, len(classes))
        return SegmenterLearner(net, len(classes), student.scale, student.tone, device)
    if isinstance(student, FcosStudent):
        detector = fcos(student, classes)
        return DetectorLearner(detector, classes, 0, student.scale, student.tone, device)
    if student.task == "segment":
        segmenter = torchvision_segmenter(student.builder, len(classes))
        return SegmenterLearner(segmenter, len(classes), student.scale, student.tone, device)
    detector = torchvision_detector(student.builder, len(classes))
    return DetectorLearner(detector, classes, 1, student.scale, student.tone, device)


def check_student(config: LiftConfig) -> None:
    """RecipeError where torchvision has no such builder."""
    student = config.student
    if not isinstance(student, TorchvisionStudent):
        return
    from torchvision import models

    module = models.detection if student.task == "detect" else models.segmentation
    names = models.list_models(module=module)
    if student.builder not in names:
        says = f"student.builder: torchvision has no {student.builder!r} to {student.task}"
        raise RecipeError(f"{says}; it has {', '.join(names)}")
