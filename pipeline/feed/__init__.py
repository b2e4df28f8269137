"""Training sets: what a training loop of torch reads, straight from sinks and shards.

    from pipeline.catalog import real, woven
    from pipeline.feed import DetectionDataset, Loader, Mix, Stream

    extra = DetectionDataset(woven("out/bccd", runs=["bccd-3f2a91c0"], where="ssim > 0.4"), CLASSES)
    own = DetectionDataset(real(Source(shards="data/bccd/train-*.tar")), CLASSES)
    loader = Loader(Stream(Mix(own, extra, ratio=0.5), batch_size=4, seed=7), workers=2)

`docs/training.md` shows all of it at work.
"""

from pipeline.feed.datasets import DetectionDataset, SegmentationDataset
from pipeline.feed.loader import Loader
from pipeline.feed.mix import Mix
from pipeline.feed.stream import Stream

__all__ = ["DetectionDataset", "Loader", "Mix", "SegmentationDataset", "Stream"]
