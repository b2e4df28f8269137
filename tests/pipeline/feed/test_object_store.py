"""The workers of a loader read from an object store that their parent has read from."""

from __future__ import annotations

import errno
import os
from collections import Counter

from jobs.plan import RunPlan
from pipeline.catalog import woven
from pipeline.feed import DetectionDataset, Loader, Stream
from pipeline.store import Store


def test_workers_read_from_a_store_that_is_open_already(planned: RunPlan, s3_bucket: str) -> None:
    local, remote = Store(planned.recipe.sink), Store(f"{s3_bucket}/out")
    for path in local.list(""):
        remote.create(path, local.read(path))
    data = DetectionDataset(woven(remote.url, runs=[planned.run]))
    assert data[0][0].ndim == 3
    batches = list(Loader(Stream(data, 3), workers=1))
    seen = Counter(int(target["image_id"]) for _, targets in batches for target in targets)
    assert seen == Counter(range(12))


def test_a_forked_process_is_told_instead_of_waiting_for_ever(s3_bucket: str) -> None:
    store = Store(s3_bucket)
    store.create("a", b"1")
    child = os.fork()
    if not child:
        try:
            store.read("a")
        except OSError as error:
            os._exit(error.errno or 0)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == errno.ENOTSUP
