"""A description of a published run is Croissant, as mlcroissant reads it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from pipeline.index.croissant import croissant_path, describe
from pipeline.index.files import published_path, read_index
from pipeline.storage.store import Store
from tests.jobs.sinks import finish, planned_run, weave


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # mlcroissant 1.1, in rdflib and pandas
def test_mlcroissant_reads_every_row_of_the_index(tmp_path: Path) -> None:
    import mlcroissant

    planned = planned_run(tmp_path)
    weave(planned)
    finish(planned)
    store, run = planned.store, planned.run
    index = read_index(store, [run])
    digest = describe(store, run)
    assert digest == hashlib.sha256(store.read(published_path(run))).hexdigest()
    (tmp_path / "out").rename(tmp_path / "elsewhere")

    data = mlcroissant.Dataset(tmp_path / "elsewhere" / croissant_path(run))
    assert not data.metadata.issues.errors
    assert [file.sha256 for file in data.metadata.file_objects] == [digest]
    read = list(data.records("samples"))
    rows = index.select(["source_key", "copy", "status", "key", "width", "ssim"]).to_pylist()
    assert len(read) == len(rows) == 14
    for record, row in zip(read, rows, strict=True):
        found = {name: record[f"samples/{name}"] for name in row}
        plain = {n: v.decode() if isinstance(v, bytes) else v for n, v in found.items()}
        assert plain == row


def test_in_an_object_store_places_are_urls_and_a_second_description_changes_nothing(
    s3_bucket: str, tmp_path: Path
) -> None:
    planned = planned_run(tmp_path)
    weave(planned)
    finish(planned)
    store, run = Store(s3_bucket), planned.run
    index = read_index(planned.store, [run])
    store.create(published_path(run), planned.store.read(published_path(run)))
    digest = describe(store, run)
    written = store.read(croissant_path(run))
    assert describe(store, run) == digest
    assert store.read(croissant_path(run)) == written
    index_file, shards = json.loads(written)["distribution"]
    assert index_file["contentUrl"] == f"{s3_bucket}/index/{run}.parquet"
    tars = {f"{s3_bucket}/{path}" for path in index["shard"].drop_null().to_pylist()}
    assert set(shards["includes"]) == tars
