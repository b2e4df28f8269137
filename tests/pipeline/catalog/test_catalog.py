"""Laws of catalogs: what published runs hold and nothing else, one read a sample, no objects."""

from __future__ import annotations

import gc
import json
import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from jobs.run.plan import RunPlan
from pipeline.catalog import Catalog, real, woven
from pipeline.codec import encode
from pipeline.index.files import index_file, read_index
from pipeline.sink.commit import commit_chunk
from pipeline.sink.publication import publish
from pipeline.storage.store import Store
from schemas.errors import RecipeError, SampleError, SinkError, SourceError
from schemas.recipe import Source
from tests.jobs.sinks import finish, in_sink, planned_run, weave, woven_chunks
from tests.pipeline.catalog import million
from tests.pipeline.shards import sample_files, tar_of
from tests.pipeline.woven_sets import write_masked
from tests.s3.proxy import Proxy


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> RunPlan:
    planned = planned_run(tmp_path_factory.mktemp("run"))
    weave(planned)
    finish(planned)
    return planned


@pytest.fixture
def sink(planned: RunPlan, tmp_path: Path) -> Path:
    """A copy of the finished sink, to be changed."""
    shutil.copytree(planned.recipe.sink, tmp_path / "out")
    return tmp_path / "out"


def files_of(shards: list[Path]) -> dict[str, bytes]:
    """Every member, by tarfile."""
    found: dict[str, bytes] = {}
    for path in shards:
        with tarfile.open(path) as tar:
            found |= {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    return found


def same_as_files(catalog: Catalog, files: dict[str, bytes]) -> bool:
    """Image, labels and map of every sample are the members of its key."""
    for i in range(len(catalog)):
        key, encoded = catalog.key(i), catalog.encoded(i)
        read = encoded.image, encoded.labels, encoded.segmentation
        if read != tuple(files[f"{key}.{suffix}"] for suffix in ("png", "json", "seg.png")):
            return False
    return len(catalog) == len({name.partition(".")[0] for name in files})


def test_a_catalog_of_a_run_gives_the_bytes_of_its_shards(planned: RunPlan, sink: Path) -> None:
    catalog = woven(str(sink), runs=[planned.run])
    assert same_as_files(catalog, files_of(sorted(sink.glob("shards/*.tar"))))
    for i in range(len(catalog)):
        members = encode(catalog.sample(i), planned.recipe.source)
        assert members["json"] == catalog.encoded(i).labels


def test_a_catalog_of_plain_shards_gives_theirs(tmp_path: Path) -> None:
    catalog = real(write_masked(tmp_path))
    assert same_as_files(catalog, files_of(sorted(tmp_path.glob("*.tar"))))
    assert [catalog.key(i) for i in range(5)] == [f"m{n}" for n in range(5)]


def test_where_chooses_among_what_is_kept(planned: RunPlan, sink: Path) -> None:
    for where, holds in (
        ("source_key in ('s01', 's12') and copy = 1", lambda r: r["copy"] == 1),
        ("ssim is null", lambda r: r["ssim"] is None),
        ("op = 'inpaint'", lambda r: False),
        ("width > 33", lambda r: r["width"] > 33),
    ):
        rows = [r for r in read_index(Store(str(sink))).to_pylist() if r["status"] == "kept"]
        if where.startswith("source_key"):
            rows = [r for r in rows if r["source_key"] in ("s01", "s12")]
        catalog = woven(str(sink), runs=[planned.run], where=where)
        keys = [catalog.key(i) for i in range(len(catalog))]
        assert keys == [r["key"] for r in rows if holds(r)]


def test_a_rejected_sample_whose_bytes_are_there_is_never_read(
    planned: RunPlan, sink: Path
) -> None:
    before, index = woven(str(sink), runs=[planned.run]), read_index(Store(str(sink)))
    shown = index["key"].to_pylist()
    status = ["rejected" if key == before.key(3) else old
              for key, old in zip(shown, index["status"].to_pylist(), strict=True)]  # fmt: skip
    place = index.schema.get_field_index("status")
    changed = index.set_column(place, index.schema.field(place), [status])
    (sink / "index" / f"{planned.run}.parquet").write_bytes(index_file([changed]))
    for where in (None, "copy >= 0 or status = 'rejected'"):
        after = woven(str(sink), runs=[planned.run], where=where)
        assert [after.key(i) for i in range(len(after))] == [
            before.key(i) for i in range(len(before)) if i != 3
        ]


def test_a_run_that_is_under_way_is_not_seen_until_it_is_published(
    planned: RunPlan, sink: Path
) -> None:
    before = woven(str(sink), runs=[planned.run])
    (sink / "more").mkdir()
    other = in_sink(
        planned_run(sink / "more", "- {kind: classic, transforms: [{Blur: {}}]}"), str(sink)
    )
    store, chunks = Store(str(sink)), woven_chunks(other)
    for chunk, rows, attempted in chunks:
        commit_chunk(store, other.run, chunk, rows, attempted)
        now = woven(str(sink), runs=[planned.run])
        assert now.digest == before.digest
        with pytest.raises(SinkError, match=f"no run {other.run} is published; there are: "):
            woven(str(sink), runs=[other.run])
    (sink / "runs" / f"{other.run}.plan.json").write_bytes(other.to_json())
    publish(store, other.run, [chunk for chunk, _, _ in chunks])
    both = woven(str(sink), runs=[planned.run, other.run])
    assert len(both) == 24
    assert [both.key(i) for i in range(12)] == [before.key(i) for i in range(12)]
    assert woven(str(sink), runs=[planned.run]).digest == before.digest


def test_runs_that_contradict_each_other_are_no_set(planned: RunPlan, sink: Path) -> None:
    plan = sink / "runs" / f"{planned.run}.plan.json"
    record = json.loads(plan.read_bytes())
    shutil.copy(sink / "index" / f"{planned.run}.parquet", sink / "index" / "other.parquet")
    record["recipe"]["source"]["seg_classes"] = ["background", "cell"]
    (sink / "runs" / "other.plan.json").write_text(json.dumps(record))
    layout = woven(str(sink), runs=[planned.run, "other"]).layout
    assert (layout.classes, layout.seg_classes) == (("cell",), ("background", "cell"))
    record["recipe"]["source"]["classes"] = ["nucleus"]
    (sink / "runs" / "other.plan.json").write_text(json.dumps(record))
    with pytest.raises(SinkError, match=r"source.classes is .*cell.* and .*nucleus.* in other"):
        woven(str(sink), runs=[planned.run, "other"])


def test_what_is_not_there_is_told_in_one_line(planned: RunPlan, sink: Path) -> None:
    with pytest.raises(SinkError, match="name the runs to read; there are: cells-"):
        woven(str(sink), runs=[])
    with pytest.raises(RecipeError, match="there is no column"):
        woven(str(sink), runs=[planned.run], where="sim > 1")
    catalog = woven(str(sink), runs=[planned.run])
    catalog.tar(0).store.delete(catalog.tar(0).path)
    with pytest.raises(SinkError, match=r"shards/.*tar: is gone since the catalog was made"):
        catalog.sample(0)
    (sink / "runs" / f"{planned.run}.plan.json").unlink()
    with pytest.raises(SinkError, match="give `layout`"):
        woven(str(sink), runs=[planned.run])
    assert len(woven(str(sink), runs=[planned.run], layout=planned.recipe.source)) == 12
    (sink / "index" / f"{planned.run}.parquet").write_bytes(b"PAR1 no index PAR1")
    with pytest.raises(SinkError, match="not an index file"):
        woven(str(sink), runs=[planned.run], layout=planned.recipe.source)


def test_damaged_packed_and_broken_real_shards_are_refused(tmp_path: Path) -> None:
    import gzip

    whole = tar_of(sample_files("a"))
    cases = {
        "packed": (gzip.compress(whole), "is gzip: nothing can be read from its middle"),
        "damaged": (whole[:700], "truncated"),
        "imageless": (tar_of(sample_files("a")[1:]), "no_images"),
    }
    for name, (data, says) in cases.items():
        (tmp_path / f"{name}.tar").write_bytes(data)
        with pytest.raises(SourceError, match=says):
            real(Source(shards=(f"{tmp_path}/{name}.tar",)))
    files = sample_files("a")
    (tmp_path / "bad.tar").write_bytes(tar_of([("a.png", b"no png"), *files[1:]]))
    with pytest.raises(SampleError, match=r"bad.tar: sample 'a'"):
        real(Source(shards=(f"{tmp_path}/bad.tar",))).sample(0)


def test_from_an_object_store_a_sample_costs_one_ranged_read(
    planned: RunPlan, s3_bucket: str, s3_proxy: Proxy
) -> None:
    local, remote = Store(planned.recipe.sink), Store(f"{s3_bucket}/out")
    for path in local.list(""):
        remote.create(path, local.read(path))
    expected = woven(planned.recipe.sink, runs=[planned.run])
    catalog = woven(remote.url, runs=[planned.run])
    assert len(catalog) == len(expected)
    for i in range(len(catalog)):
        s3_proxy.clear()
        sample, wanted = catalog.sample(i), expected.sample(i)
        assert np.array_equal(sample.image_hwc, wanted.image_hwc)
        assert [method for method, _ in s3_proxy.requests] == ["GET"]
        assert len(s3_proxy.ranges) == 1


def test_a_real_shard_that_changes_in_an_object_store_is_an_error(s3_bucket: str) -> None:
    store = Store(s3_bucket)
    store.create("a.tar", tar_of(sample_files("a")))
    catalog = real(Source(shards=(f"{s3_bucket}/a.tar",), segmentation="seg.png"))
    assert catalog.sample(0).key == "a"
    store.delete("a.tar")
    store.create("a.tar", tar_of(sample_files("b")))
    with pytest.raises(SourceError, match="changed"):
        catalog.sample(0)


def test_of_the_index_of_an_object_store_only_what_counts_is_read(
    s3_bucket: str, s3_proxy: Proxy, tmp_path: Path
) -> None:
    size = million.write_sink(tmp_path, 4000)
    store = Store(s3_bucket)
    for path in Store(str(tmp_path)).list(""):
        store.create(path, (tmp_path / path).read_bytes())
    s3_proxy.clear()
    assert len(woven(s3_bucket, runs=[million.RUN])) == 3800
    asked = [r.removeprefix("bytes=").split("-") for r in s3_proxy.ranges if r]
    read = sum(int(end) - int(start) + 1 for start, end in asked)
    assert 0 < read < size / 2


def test_a_row_of_the_index_leaves_no_object_and_few_bytes(tmp_path: Path) -> None:
    million.write_sink(tmp_path, 6_400)
    gc.collect()
    before = len(gc.get_objects())
    catalog = woven(str(tmp_path), runs=[million.RUN], where="objects > 3")
    gc.collect()
    assert len(catalog) == 6_080
    tars = 6_400 // million.CHUNK
    assert len(gc.get_objects()) - before < 6 * tars + 2000
    assert len(pickle.dumps(catalog)) < 130 * len(catalog)


def test_a_catalog_travels_and_parts_of_it_are_catalogs(planned: RunPlan, sink: Path) -> None:
    catalog = woven(str(sink), runs=[planned.run])
    other: Catalog = pickle.loads(pickle.dumps(catalog))
    assert other.digest == catalog.digest
    part = other.take([7, 2])
    assert [part.key(0), part.key(1)] == [catalog.key(7), catalog.key(2)]
    assert np.array_equal(part.sample(1).image_hwc, catalog.sample(2).image_hwc)
    assert part.digest != catalog.digest
