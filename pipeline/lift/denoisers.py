"""Denoisers that a training of a lift test makes for itself, of its own labelled images.

With few labels there is no denoiser yet that knows what they mean, and one that has learnt all
labels of the data would tell the student more than its few. So each seed trains its own: on the
labelled images that it has drawn, and on images without labels (`unlabelled`, or an `init` that was
trained on such), as many as there are. It is trained once for all arms of a seed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.index.files import sink_errors
from pipeline.lift.subset import Drawn, pool_of
from pipeline.models import describe
from pipeline.storage.store import Store
from pipeline.tars.tar import write_tar
from schemas.models import NativeModel
from schemas.recipe import Source, digest_of

if TYPE_CHECKING:
    from pipeline.training.config import DenoiserTraining

FOLDER: Final = "denoisers"
FILES: Final = ("config.json", "model.safetensors")


def training_digest(training: DenoiserTraining) -> str:
    """16 hex digits over all that shapes it, but for the labelled images. ModelError, SourceError
    where what it begins with is not there.
    """
    begins = describe(NativeModel(native=training.init)).digest if training.init else None
    unlabelled = pool_of(training.unlabelled).content if training.unlabelled else None
    shape = training.model_dump(
        mode="json", exclude={"data", "init", "unlabelled", "out", "licence", "tracking"}
    )
    return digest_of([shape, begins, unlabelled])


@contextmanager
def trained(
    store: Store, training: DenoiserTraining, labelled: Drawn, seed: int, device: str
) -> Iterator[NativeModel]:
    """The denoiser of these labelled images, made now or before; its folder lasts for the block."""
    name = digest_of([training_digest(training), labelled.contents, seed])
    with tempfile.TemporaryDirectory(prefix="noiseloom-denoiser-") as folder, sink_errors(store):
        paths = {file: f"{FOLDER}/{name}/{file}" for file in FILES}
        if not all(store.exists(path) for path in paths.values()):
            _train(training, labelled, seed, device, Path(folder))
            for file, path in paths.items():
                if not store.exists(path):
                    store.create(path, (Path(folder) / file).read_bytes())
        for file, path in paths.items():
            (Path(folder) / file).write_bytes(store.read(path))
        yield NativeModel(native=folder)


def _train(
    training: DenoiserTraining, labelled: Drawn, seed: int, device: str, folder: Path
) -> None:
    import torch

    from pipeline.training.session import Session

    config = training.model_copy(
        update={
            "data": _shard(training.data, labelled, folder),
            "seed": training.seed + seed,
            # measured speed must not decide what is learnt
            "precision": "fp32" if training.precision == "auto" else training.precision,
        }
    )
    with torch.random.fork_rng(devices=[]):
        session = Session(config, "denoiser", torch.device(device))
        while not session.state.over:
            session.step()
        session.task.save(folder, session.state.result())


def _shard(layout: Source, labelled: Drawn, folder: Path) -> Source:
    """The labelled images as a shard of their own."""
    files = []
    for one in labelled.encoded:
        files.append((f"{one.key}.{one.image_suffix}", one.image))
        for suffix, data in ((layout.labels, one.labels), (layout.segmentation, one.segmentation)):
            if suffix is not None and data is not None:
                files.append((f"{one.key}.{suffix}", data))
    path = folder / "labelled.tar"
    path.write_bytes(write_tar(files)[0])
    return layout.model_copy(update={"shards": (str(path),)})
