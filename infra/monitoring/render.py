"""Renders dashboard.json, for Grafana 10 and newer.

    .venv/bin/python infra/monitoring/render.py

A test holds that what is committed is what this makes, and that a run exports all that it asks for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT = 8, 7  # three panels in Grafana's 24 columns

RUN: Final = 'run=~"$run"'
OFTEN: Final = "[$__rate_interval]"
HOUR: Final = "[1h]"


@dataclass(frozen=True)
class Panel:
    """One picture: what it shows, its unit in Grafana's names, and queries by their legend."""

    title: str
    says: str
    unit: str
    queries: Mapping[str, str]
    kind: str = "timeseries"
    stacked: bool = False


def quantiles(metric: str, by: str = "") -> dict[str, str]:
    """The median and the 95th percentile of a histogram."""
    legend = f"{{{{{by}}}}} " if by else ""
    rates = f"sum by (le{', ' + by if by else ''}) (rate({metric}_bucket{OFTEN}))"
    return {
        f"{legend}median": f"histogram_quantile(0.5, {rates})",
        f"{legend}95 %": f"histogram_quantile(0.95, {rates})",
    }


ROWS: Final[Mapping[str, Sequence[Panel]]] = {
    "Runs": (
        Panel(
            "Chunks left",
            "Chunks that are still to be committed. No line: no run.",
            "none",
            {"{{run}}": f"max by (run) (ray_noiseloom_chunks_left{{{RUN}}})"},
        ),
        Panel(
            "Time left",
            "Chunks left, at the pace of the last 15 minutes.",
            "s",
            {
                "{{run}}": f"max by (run) (ray_noiseloom_chunks_left{{{RUN}}} / "
                f"-deriv(ray_noiseloom_chunks_left{{{RUN}}}[15m]))"
            },
        ),
        Panel(
            "Copies per second",
            "Copies committed, by what became of them.",
            "cps",
            {"{{status}}": f"sum by (status) (rate(ray_noiseloom_copies_total{{{RUN}}}{OFTEN}))"},
            stacked=True,
        ),
        Panel(
            "Rejected, by reason",
            "Copies that gates rejected, per hour. The slug is in the index, with its score.",
            "none",
            {
                "{{reason}}": "sum by (reason) (increase(ray_noiseloom_copies_total"
                f'{{status="rejected", {RUN}}}{HOUR}))'
            },
            stacked=True,
        ),
        Panel(
            "Failed, by reason",
            "Copies that failed, per hour. Their sources are in the quarantine.",
            "none",
            {
                "{{reason}}": "sum by (reason) (increase(ray_noiseloom_copies_total"
                f'{{status="failed", {RUN}}}{HOUR}))'
            },
            stacked=True,
        ),
        Panel(
            "Commits",
            "Seconds that the commit of a chunk takes: encode the tar, write it, write its index.",
            "s",
            quantiles("ray_noiseloom_commit_seconds"),
        ),
    ),
    "Ops and models": (
        Panel(
            "Images per second",
            "Images that an op or a gate has worked on.",
            "cps",
            {"{{op}}": f"sum by (op) (rate(ray_noiseloom_images_total{OFTEN}))"},
        ),
        Panel(
            "Chunks per hour",
            "Chunks that an op or a gate has worked on.",
            "none",
            {"{{op}}": f"sum by (op) (increase(ray_noiseloom_chunks_total{HOUR}))"},
        ),
        Panel(
            "Model seconds per second",
            "How many workers are inside an op or a gate with a model: what it costs.",
            "none",
            {
                "{{op}} {{model}}": "sum by (op, model) "
                f'(rate(ray_noiseloom_op_seconds_total{{model!=""}}{OFTEN}))'
            },
            stacked=True,
        ),
        Panel(
            "Seconds per image",
            "Of an op or a gate, in one worker.",
            "s",
            {
                "{{op}}": f"sum by (op) (rate(ray_noiseloom_op_seconds_total{OFTEN})) / "
                f"sum by (op) (rate(ray_noiseloom_images_total{OFTEN}))"
            },
        ),
        Panel(
            "Batch fill",
            "Images in a batch, of the places in it. Low: make the chunk a multiple of the batch.",
            "percentunit",
            {
                "{{network}}": "sum by (network) "
                f"(rate(ray_noiseloom_batch_images_total{OFTEN})) / sum by (network) "
                f"(rate(ray_noiseloom_batch_places_total{OFTEN}))"
            },
        ),
        Panel(
            "Batches halved",
            "For want of memory, since the cluster started. Each worker finds out for itself.",
            "none",
            {"{{network}}": "sum by (network) (ray_noiseloom_memory_halvings_total)"},
        ),
    ),
    "Stages": (
        Panel(
            "Queue wait",
            "Seconds between a chunk's being ready for a stage and its being taken. A stage with a "
            "long queue is the bottleneck.",
            "s",
            quantiles("ray_noiseloom_queue_wait_seconds", "stage"),
        ),
        Panel(
            "Blocks queued",
            "Chunks that wait in front of each operator of Ray Data.",
            "none",
            {"{{operator}}": "sum by (operator) (ray_data_operator_queued_blocks)"},
        ),
        Panel(
            "Actors",
            "Alive, and those that the cluster has no room for yet.",
            "none",
            {
                "{{operator}} alive": "sum by (operator) (ray_data_num_alive_actors)",
                "{{operator}} pending": "sum by (operator) (ray_data_num_pending_actors)",
            },
        ),
    ),
    "Nodes": (
        Panel(
            "GPU",
            "Busy, in percent.",
            "percent",
            {"{{ip}} {{GpuIndex}}": "max by (ip, GpuIndex) (ray_node_gpus_utilization)"},
        ),
        Panel(
            "GPU memory",
            "Used, in MiB.",
            "mbytes",
            {"{{ip}} {{GpuIndex}}": "max by (ip, GpuIndex) (ray_node_gram_used)"},
        ),
        Panel(
            "CPU",
            "Busy, in percent.",
            "percent",
            {"{{ip}}": "max by (ip) (ray_node_cpu_utilization)"},
        ),
        Panel(
            "Memory",
            "Used, of what there is.",
            "percentunit",
            {"{{ip}}": "max by (ip) (ray_node_mem_used) / max by (ip) (ray_node_mem_total)"},
        ),
        Panel(
            "Object store",
            "Used, and spilled to disk: spilling means that blocks wait for a slower stage.",
            "bytes",
            {
                "{{NodeAddress}} used": "sum by (NodeAddress) (ray_object_store_used_memory)",
                "{{NodeAddress}} spilled": "sum by (NodeAddress) "
                '(ray_spill_manager_objects_bytes{State="Spilled"})',
            },
        ),
        Panel(
            "Disk",
            "Used, of that with Ray's folder. A full one stops the run.",
            "percent",
            {"{{ip}}": "max by (ip) (ray_node_disk_utilization_percentage)"},
        ),
    ),
}


def dashboard() -> str:
    """The file, as it is committed."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS.items():
        panels.append(_row(title, len(panels) + 1, y))
        y += 1
        for i, panel in enumerate(row):
            place = {"h": HEIGHT, "w": WIDTH, "x": i % 3 * WIDTH, "y": y + i // 3 * HEIGHT}
            panels.append(_panel(panel, len(panels) + 1, place))
        y += -(-len(row) // 3) * HEIGHT
    whole = {
        "uid": "noiseloom",
        "title": "noiseloom",
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "tags": ["noiseloom", "ray"],
        "templating": {"list": _variables()},
        "panels": panels,
    }
    return json.dumps(whole, indent=1) + "\n"


def _variables() -> list[dict[str, Any]]:
    query = "label_values(ray_noiseloom_copies_total, run)"
    return [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        {
            "name": "run",
            "label": "Run",
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": query, "refId": "runs"},
            "refresh": 2,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        },
    ]


def _row(title: str, number: int, y: int) -> dict[str, Any]:
    place = {"h": 1, "w": 24, "x": 0, "y": y}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place}


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    custom = {"stacking": {"mode": "normal"}, "fillOpacity": 25} if panel.stacked else {}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.says,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": custom}},
        "targets": [
            {"refId": chr(ord("A") + i), "expr": query, "legendFormat": legend}
            for i, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def main() -> None:
    """Writes it."""
    (HERE / "dashboard.json").write_text(dashboard())


if __name__ == "__main__":
    main()
