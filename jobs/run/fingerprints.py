"""The fingerprints of all source images (`pipeline/known/images.py`), made before a run weaves
anything.

One Ray task for each shard whose file is not in the sink yet: what a killed run has made, or an
earlier one, is not made again. Ray must be up. A shard that cannot be read, or has changed, ends
the run with the error that it would end with later.
"""

from __future__ import annotations

from rich.console import Console

from jobs.run.plan import RunPlan
from pipeline.chain.attempts import begin
from pipeline.flow.carried import carried
from pipeline.flow.fingerprinting import ShardImages, journal_of, make_known, shard_images
from pipeline.known.images import known_path, missing_of
from pipeline.storage.store import Store
from schemas.errors import SinkError
from schemas.recipe import Source


def make_fingerprints(planned: RunPlan, session: str, console: Console) -> None:
    """Those that a gate of the run asks for, and that are not there. `session` names this start of
    the run, in the journal of attempts.
    """
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
    _make(wanted, planned, session)


def _make(wanted: list[ShardImages], planned: RunPlan, session: str) -> None:
    import ray
    from ray.exceptions import RayError

    from pipeline.flow.errors import IO_RETRIES, unwrapped
    from pipeline.flow.reach import check_reach, local_places

    source, sink = planned.recipe.source, planned.recipe.sink
    check_reach(local_places([one.chunks[0] for one in wanted], sink), ray.nodes())
    task = ray.remote(num_cpus=1, max_retries=IO_RETRIES)(make_shard)
    under_way = [task.remote(one, source, sink, planned.run, session) for one in wanted]
    try:
        while under_way:
            done, under_way = ray.wait(under_way)
            ray.get(done)
    except RayError as error:
        raise unwrapped(error) from None


def make_shard(images: ShardImages, source: Source, sink: str, run: str, session: str) -> None:
    """The file of one shard; what a task does."""
    with carried():
        store = Store(sink)
        attempt = begin(store, run, journal_of(known_path(images.shard, source)), session)
        make_known(store, images, source, attempt)
