"""Torchvision's own models train straight from the feed."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.segmentation.fcn import FCN, FCNHead
from torchvision.transforms import v2

from jobs.run.plan import RunPlan
from pipeline.catalog import real, woven
from pipeline.feed import DetectionDataset, Loader, Mix, SegmentationDataset, Stream
from schemas.recipe import Source


class Backbone(nn.Sequential):
    """Two strided convolutions; a detector asks for `out_channels`."""

    out_channels = 8

    def __init__(self) -> None:
        layers = (nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
        super().__init__(*layers)


def anchors() -> AnchorGenerator:
    return AnchorGenerator(sizes=((8, 16),), aspect_ratios=((1.0,),))


def losses_of_an_epoch(
    net: nn.Module, loader: Loader[dict[str, Tensor | int]]
) -> list[dict[str, float]]:
    optimiser = torch.optim.SGD(net.train().parameters(), 0.01)
    found = []
    for images, targets in loader:
        losses: dict[str, Tensor] = net(images, targets)
        optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        found.append({name: float(loss.detach()) for name, loss in losses.items()})
    return found


TO_FLOAT = v2.Compose([v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True)])


def test_faster_rcnn_trains_an_epoch_from_the_feed(planned: RunPlan, masked: Source) -> None:
    torch.manual_seed(1)
    net = FasterRCNN(
        Backbone(), 2, min_size=24, max_size=40, rpn_anchor_generator=anchors(),
        box_detections_per_img=4, rpn_pre_nms_top_n_train=50, rpn_post_nms_top_n_train=20,
    )  # fmt: skip
    sink = woven(planned.recipe.sink, runs=[planned.run], where="op = 'classic'")
    parts = DetectionDataset(real(masked), None, TO_FLOAT), DetectionDataset(sink, None, TO_FLOAT)
    losses = losses_of_an_epoch(net, Loader(Stream(Mix(*parts, 0.5, length=8), 4), workers=1))
    assert len(losses) == 2
    assert all(value < 20 for step in losses for value in step.values())


def test_mask_rcnn_takes_the_masks(masked: Source) -> None:
    torch.manual_seed(1)
    net = MaskRCNN(
        Backbone(), 2, min_size=24, max_size=40, rpn_anchor_generator=anchors(),
        rpn_pre_nms_top_n_train=50, rpn_post_nms_top_n_train=20,
    )  # fmt: skip
    (step,) = losses_of_an_epoch(
        net, Loader(Stream(DetectionDataset(real(masked), None, TO_FLOAT), 5))
    )
    assert 0 < step["loss_mask"] < 20


def test_a_segmentation_model_trains_an_epoch_from_the_feed(planned: RunPlan) -> None:
    torch.manual_seed(1)
    net = FCN(IntermediateLayerGetter(Backbone(), {"3": "out"}), FCNHead(8, 2)).train()
    transform = v2.Compose([TO_FLOAT, v2.Resize((32, 32))])
    catalog = woven(planned.recipe.sink, runs=[planned.run])
    data = SegmentationDataset(catalog, ("background", "cell"), transform)
    optimiser = torch.optim.SGD(net.parameters(), 0.01)
    steps = 0
    for images, maps in Loader(Stream(data, 6, uneven="drop")):
        scores = net(torch.stack(images))["out"]
        loss = nn.functional.cross_entropy(scores, torch.stack(maps), ignore_index=255)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        assert torch.isfinite(loss)
        steps += 1
    assert steps == 2
