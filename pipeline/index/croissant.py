"""A published run as Croissant 1.0 describes datasets: JSON-LD that catalogs and loaders read.

    distribution    the index, with its SHA-256; the tars that its kept rows lie in
    recordSet       `samples`: a record for each row of the index, of the columns with plain values

Places are relative to the description, `runs/<run>.jsonld`, so that a sink can be moved; in
an object store they are URLs. What a run does not know (licence, creator, citation) is left out.
The context is that of the specification: http://mlcommons.org/croissant/1.0
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.index.files import index_batches, published_path
from pipeline.storage.ranged_file import RangedFile
from pipeline.storage.store import Store
from schemas.index import INDEX_SCHEMA

CONTEXT: Final = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}

PART: Final = 16 * 1024 * 1024
"""Bytes of an index that are hashed at a time."""

TYPES: Final = {
    pa.string(): "sc:Text",
    pa.int32(): "sc:Integer",
    pa.int64(): "sc:Integer",
    pa.float64(): "sc:Float",
}


def croissant_path(run: str) -> str:
    """Where the description of a published run is."""
    return f"runs/{run}.jsonld"


def describe(store: Store, run: str) -> str:
    """Writes the description of a published run, once; the SHA-256 of its index, in hex digits."""
    digest = _sha256(store, published_path(run))
    kept, attempted, tars = 0, 0, set[str]()
    for batch in index_batches(store, run, ["status", "shard"]):
        its = batch.filter(pc.equal(batch["status"], "kept"))["shard"]
        kept, attempted = kept + len(its), attempted + len(batch)
        tars |= set(its.unique().to_pylist())
    about = (
        f"{kept} images in {len(tars)} WebDataset shards, with their labels, "
        f"and the index of all {attempted} copies that were attempted, made by noiseloom."
    )
    text = _document(store, run, digest, about, sorted(tars))
    store.create(croissant_path(run), text.encode())
    return digest


def _sha256(store: Store, path: str) -> str:
    """In hex digits; a part of the file at a time is in memory."""
    digest, file = hashlib.sha256(), RangedFile(store, path)
    while part := file.read(PART):
        digest.update(part)
    return digest.hexdigest()


def _document(store: Store, run: str, digest: str, about: str, tars: Sequence[str]) -> str:
    document = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": run,
        "description": about,
        "datePublished": datetime.now(UTC).date().isoformat(),
        "version": "1.0.0",  # of this dataset: a published run never changes
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "index",
                "name": "index",
                "contentUrl": _at(store, published_path(run)),
                "encodingFormat": "application/x-parquet",
                "sha256": digest,
            },
            {
                "@type": "cr:FileSet",
                "@id": "shards",
                "name": "shards",
                "encodingFormat": "application/x-tar",
                "includes": [_at(store, path) for path in tars],
            },
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "samples",
                "name": "samples",
                "description": "Every attempted copy; where `status` is kept, the members "
                "`<key>.*` of the tar `shard` are its image and its labels.",
                "field": [_field(column) for column in INDEX_SCHEMA if column.type in TYPES],
            }
        ],
    }
    return json.dumps(document, indent=1) + "\n"


def _at(store: Store, path: str) -> str:
    return store.at(path) if store.shared else f"../{path}"


def _field(column: pa.Field) -> dict[str, object]:
    return {
        "@type": "cr:Field",
        "@id": f"samples/{column.name}",
        "name": column.name,
        "dataType": TYPES[column.type],
        "source": {"fileObject": {"@id": "index"}, "extract": {"column": column.name}},
    }
