"""Makes podmonitor-v1.schema.json, where cloudcoil-models-prometheus-operator is installed:
`python -m tests.kubernetes.cut_pod_monitor`.

That package has the custom resources of Prometheus' operator as pydantic models, made from their
definitions; here is the schema of one, without descriptions, titles and defaults.
"""

from __future__ import annotations

import importlib
import json
from typing import Any

from tests.kubernetes.cut_schemas import HERE

LEFT_OUT = ("description", "title", "default")


def bare(value: Any) -> Any:
    """Without what is for people. A property may be called so, too: then it is a schema."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if k not in LEFT_OUT or isinstance(v, dict)}
        return {key: bare(inner) for key, inner in kept.items()}
    return [bare(one) for one in value] if isinstance(value, list) else value


def main() -> None:
    models = importlib.import_module("cloudcoil.models.prometheus_operator").v1
    schema = bare(models.PodMonitor.model_json_schema(by_alias=True))
    text = json.dumps(schema, sort_keys=True, separators=(",", ":"))
    (HERE / "podmonitor-v1.schema.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
