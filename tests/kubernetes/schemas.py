"""Whether a manifest is what the API server takes: types, required keys, and no key unknown."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

HERE = Path(__file__).parent
CUSTOM = {
    "RayCluster": "ray.io/v1",
    "RayJob": "ray.io/v1",
    "RayCronJob": "ray.io/v1",
    "PodMonitor": "monitoring.coreos.com/v1",
}
OPEN = ("additionalProperties", "x-kubernetes-preserve-unknown-fields")


def problems(manifest: dict[str, Any]) -> list[str]:
    """What is wrong with a resource, each with its place; a kind without a schema is wrong."""
    kind = manifest["kind"]
    if kind in CUSTOM:
        metadata = _kubernetes("ObjectMeta").iter_errors(manifest["metadata"])
        found = [*_custom(kind).iter_errors(manifest), *metadata]
        if manifest["apiVersion"] != CUSTOM[kind]:
            return [f"{kind}: apiVersion: {manifest['apiVersion']}"]
    else:
        found = list(_kubernetes(kind).iter_errors(manifest))
    return [f"{kind}: {error.json_path}: {error.message[:200]}" for error in found]


@lru_cache
def _custom(kind: str) -> Draft202012Validator:
    return Draft202012Validator(_closed(json.loads(_file(f"{kind.lower()}-v1"))))


@lru_cache
def _kubernetes(kind: str) -> Draft202012Validator:
    cut = json.loads(_file("kubernetes"))
    meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    name = meta if kind == "ObjectMeta" else cut["kinds"][kind]
    return Draft202012Validator(
        {"$ref": f"#/$defs/{name}", "$defs": {n: _closed(d) for n, d in cut["$defs"].items()}}
    )


def _file(stem: str) -> str:
    return (HERE / f"{stem}.schema.json").read_text()


def _closed(schema: Any) -> Any:
    """The schema with every object closed that lists its keys."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and not any(key in schema for key in OPEN):
        closed["additionalProperties"] = False
    return closed
