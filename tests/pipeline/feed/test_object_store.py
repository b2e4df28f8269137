"""The workers of a loader read from an object store that their parent has read from."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from multiprocessing import forkserver

import pytest
from torch.utils.data import DataLoader

from jobs.run.plan import RunPlan
from pipeline.catalog import woven
from pipeline.feed import DetectionDataset, Loader, Stream
from pipeline.feed.loader import PRELOADED
from pipeline.storage.store import Store
from schemas.errors import SinkError


@pytest.fixture
def data(planned: RunPlan, s3_bucket: str) -> DetectionDataset:
    """Twelve samples in an object store, one of which this process has read."""
    local, remote = Store(planned.recipe.sink), Store(f"{s3_bucket}/out")
    for path in local.list(""):
        remote.create(path, local.read(path))
    data = DetectionDataset(woven(remote.url, runs=[planned.run]))
    assert data[0][0].ndim == 3
    return data


def test_workers_read_from_a_store_that_is_open_already(
    data: DetectionDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    multiprocessing.set_forkserver_preload(PRELOADED)
    with monkeypatch.context() as before:  # a fork server keeps the environment of its start
        before.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        forkserver.ensure_running()
    batches = list(Loader(Stream(data, 6), workers=1))
    seen = Counter(int(target["image_id"]) for _, targets in batches for target in targets)
    assert seen == Counter(range(12))


def test_a_forked_worker_is_told_instead_of_waiting_for_ever(data: DetectionDataset) -> None:
    forked = DataLoader(data, batch_size=None, num_workers=1, multiprocessing_context="fork")
    with pytest.raises(SinkError, match="a forked process cannot read it: start workers with fork"):
        next(iter(forked))
