"""`noiseloom export`: its arguments; the work is in `jobs/export.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer
from rich.console import Console

Format: TypeAlias = Literal["coco", "yolo", "voc", "masks"]

FormatName = Annotated[
    Format, typer.Argument(metavar="FORMAT", help="coco, yolo, voc, or masks: class-id maps")
]
Sink = Annotated[str, typer.Argument(metavar="SINK", help="the sink of a run: a folder or a URL")]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="the folder to make; not there yet")]
Runs = Annotated[
    list[str] | None,
    typer.Option(
        "--run",
        "--runs",
        metavar="RUN",
        help="only this published run; again for more; all if left out",
    ),
]
Where = Annotated[
    str | None,
    typer.Option(
        metavar="EXPRESSION",
        help="only samples for which this holds: \"ssim > 0.4 and op = 'inpaint'\"",
    ),
]
Classes = Annotated[
    list[str] | None,
    typer.Option(
        "--class",
        metavar="NAME",
        help="again for each, in the order of their numbers; else as the recipes name them",
    ),
]
Split = Annotated[str, typer.Option(metavar="NAME", help="what to call the split")]


def export(
    format: FormatName,
    sink: Sink,
    out: Out,
    runs: Runs = None,
    where: Where = None,
    classes: Classes = None,
    split: Split = "train",
) -> None:
    """Write the kept samples of published runs in a format that other tools read.

    noiseloom export coco out/nuclei coco/ --where "ssim > 0.4"

    noiseloom export yolo out/bccd yolo/ --class RBC --class WBC --class Platelets
    """
    from jobs.export import Choice, export_data

    choice = Choice(tuple(runs or ()), where, tuple(classes or ()), split)
    export_data(format, sink, out, choice, Console(stderr=True))
