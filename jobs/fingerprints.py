"""The fingerprints of all source images (`pipeline/known.py`), made before a run weaves anything.

One Ray task for each shard whose file is not in the sink yet: what a killed run has made, or an
earlier one, is not made again. Ray must be up.

A shard that cannot be read, or has changed, ends the run with the error that it would end with
later. So does one with an image whose decoding kills its process: the journal of attempts, which
would find it, begins with the chunks.
"""

from __future__ import annotations

from typing import Final

from rich.console import Console

from jobs.plan import RunPlan
from pipeline.carried import carried
from pipeline.known import ShardImages, make_known, missing_of, shard_images
from pipeline.store import Store
from schemas.errors import RunError, SinkError
from schemas.recipe import Source

DEATHS: Final = 3
"""Of the task of one shard, by lost nodes too, before the run stops."""


def make_fingerprints(planned: RunPlan, console: Console) -> None:
    """Those that a gate of the run asks for, and that are not there."""
    missing = missing_of(planned.store, planned.known) if planned.known else []
    if not missing:
        return
    if planned.retry is not None:
        raise SinkError(
            f"{planned.store.at(missing[0])}: is missing, and the retry needs it: a gate holds its "
            f"copies against all source images of {planned.retry.run}"
        )
    by_path = dict(zip(planned.known, shard_images(planned.chunks), strict=True))
    wanted = [by_path[path] for path in missing]
    images = sum(one.images for one in wanted)
    console.print(f"fingerprints of {images} images in {len(wanted)} shards", highlight=False)
    _make(wanted, planned.recipe.source, planned.recipe.sink)


def _make(wanted: list[ShardImages], source: Source, sink: str) -> None:
    import ray
    from ray.exceptions import RayError, WorkerCrashedError

    from pipeline.flow import unwrapped
    from pipeline.reach import check_reach, local_places

    check_reach(local_places([one.chunks[0] for one in wanted], sink), ray.nodes())
    task = ray.remote(num_cpus=1, max_retries=DEATHS - 1)(_task)
    under_way = {task.remote(one, source, sink): one for one in wanted}
    while under_way:
        (done,), _ = ray.wait(list(under_way))
        its = under_way.pop(done)
        try:
            ray.get(done)
        except WorkerCrashedError:
            raise RunError(
                f"{its.shard.url}: {DEATHS} processes died on its fingerprints, of memory or of an "
                "image that crashes a decoder; near_duplicate with max_others: null needs none"
            ) from None
        except RayError as error:
            raise unwrapped(error) from None


def _task(images: ShardImages, source: Source, sink: str) -> None:
    with carried():
        make_known(Store(sink), images, source)
