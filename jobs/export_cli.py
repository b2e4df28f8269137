"""`noiseloom export FORMAT`: one command for each format; the work is in `jobs/export.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

app = typer.Typer(
    name="export",
    help="Write the kept samples of published runs in a format that other tools read.",
    no_args_is_help=True,
)

Sink = Annotated[str, typer.Argument(metavar="SINK", help="the sink of a run: a folder or a URL")]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="the folder to make; not there yet")]
Runs = Annotated[
    list[str] | None,
    typer.Option(
        "--runs", metavar="RUN", help="only this published run; again for more; all if left out"
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


@app.command()
def coco(
    sink: Sink,
    out: Out,
    runs: Runs = None,
    where: Where = None,
    classes: Classes = None,
    split: Split = "train",
) -> None:
    """A COCO json and a folder of images; instance masks as run lengths.

    noiseloom export coco out/nuclei coco/ --where "ssim > 0.4"
    """
    _export("coco", sink, out, runs, where, classes, split)


@app.command()
def yolo(
    sink: Sink,
    out: Out,
    runs: Runs = None,
    where: Where = None,
    classes: Classes = None,
    split: Split = "train",
) -> None:
    """A YOLO folder: data.yaml, images/ and labels/, with boxes.

    noiseloom export yolo out/bccd yolo/ --class RBC --class WBC --class Platelets
    """
    _export("yolo", sink, out, runs, where, classes, split)


@app.command()
def voc(
    sink: Sink,
    out: Out,
    runs: Runs = None,
    where: Where = None,
    classes: Classes = None,
    split: Split = "train",
) -> None:
    """A Pascal VOC folder: xml, lists, class-id maps and maps of objects.

    noiseloom export voc out/nuclei VOC/
    """
    _export("voc", sink, out, runs, where, classes, split)


@app.command()
def masks(
    sink: Sink,
    out: Out,
    runs: Runs = None,
    where: Where = None,
    classes: Classes = None,
    split: Split = "train",
) -> None:
    """A folder of images and a folder of class-id maps, files of the same names.

    noiseloom export masks out/nuclei pairs/
    """
    _export("masks", sink, out, runs, where, classes, split)


def _export(
    format: Literal["coco", "yolo", "voc", "masks"],
    sink: str,
    out: Path,
    runs: list[str] | None,
    where: str | None,
    classes: list[str] | None,
    split: str,
) -> None:
    from jobs.export import Choice, export_data

    choice = Choice(tuple(runs or ()), where, tuple(classes or ()), split)
    export_data(format, sink, out, choice, Console(stderr=True))
