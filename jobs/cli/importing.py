"""`noiseloom import FORMAT`: one command for each format; the work is in `jobs/import_data.py`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(
    name="import",
    help=(
        "Turn a dataset of another format into shards that a recipe reads, and report what is "
        "wrong in it."
    ),
    no_args_is_help=True,
)

Out = Annotated[
    Path, typer.Argument(metavar="OUT", help="the folder of shards to make; not there yet")
]
ShardSize = Annotated[
    int, typer.Option("--shard-size", min=1, metavar="N", help="samples in a shard, at most")
]
Split = Annotated[
    str, typer.Option("--split", metavar="NAME", help="what to call the shards: NAME-000000.tar")
]
Splits = Annotated[
    list[str] | None,
    typer.Option("--split", metavar="NAME", help="only this split; again for more [default: all]"),
]

SIZE = 1000


class Crowds(StrEnum):
    """What becomes of COCO's crowds."""

    DROP = "drop"
    KEEP = "keep"


@app.command()
def coco(
    annotations: Annotated[
        Path, typer.Argument(metavar="JSON", help="the annotations: instances_*.json")
    ],
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="the folder of its images")],
    out: Out,
    split: Split = "train",
    crowds: Annotated[
        Crowds,
        typer.Option(help="outlines around many objects: leave them out, or take them as objects"),
    ] = Crowds.DROP,
    shard_size: ShardSize = SIZE,
) -> None:
    """A COCO json with its folder of images.

    Boxes, outlines and run lengths (compressed or not) become boxes and instance masks.

    noiseloom import coco annotations/instances_val2017.json val2017 shards/coco-val --split val
    """
    from jobs.import_data import import_data
    from pipeline.importing.coco import read_coco

    keep = crowds is Crowds.KEEP
    import_data(
        lambda: read_coco(annotations, images, split=split, keep_crowds=keep),
        out,
        shard_size,
        _console(),
    )


@app.command()
def voc(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="with Annotations and JPEGImages")
    ],
    out: Out,
    split: Splits = None,
    sets: Annotated[
        str, typer.Option(metavar="NAME", help="which folder of ImageSets lists the splits")
    ] = "Main",
    first_pixel: Annotated[
        int,
        typer.Option(
            min=0, max=1, help="the first pixel's number: 1 in Pascal VOC, 0 by some tools"
        ),
    ] = 1,
    shard_size: ShardSize = SIZE,
) -> None:
    """A Pascal VOC folder: Annotations, JPEGImages.

    Maps are those of SegmentationClass, masks those of SegmentationObject.
    The splits are those of ImageSets; without it all images are one, train.

    noiseloom import voc VOCdevkit/VOC2012 shards/voc --sets Segmentation
    """
    from jobs.import_data import import_data
    from pipeline.importing.voc import read_voc

    import_data(
        lambda: read_voc(folder, splits=split or (), sets=sets, first_pixel=first_pixel),
        out,
        shard_size,
        _console(),
    )


@app.command()
def yolo(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="data.yaml, or the folder that it is in")
    ],
    out: Out,
    split: Splits = None,
    shard_size: ShardSize = SIZE,
) -> None:
    """A YOLO folder: data.yaml, images/ and labels/.

    Lines with a box become boxes, lines with an outline instance masks.
    The splits are those of data.yaml.

    noiseloom import yolo coco128 shards/coco128
    """
    from jobs.import_data import import_data
    from pipeline.importing.yolo import read_yolo

    import_data(lambda: read_yolo(source, splits=split or ()), out, shard_size, _console())


@app.command()
def labelme(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="LabelMe's json files, in it and below it")
    ],
    out: Out,
    images: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="the images, if not beside the json")
    ] = None,
    split: Split = "train",
    shard_size: ShardSize = SIZE,
) -> None:
    """A folder of LabelMe files.

    Rectangles become boxes; outlines, circles and painted masks become instance masks.

    noiseloom import labelme labelled/ shards/mine
    """
    from jobs.import_data import import_data
    from pipeline.importing.labelme import read_labelme

    import_data(
        lambda: read_labelme(folder, images=images, split=split), out, shard_size, _console()
    )


@app.command()
def masks(
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="the folder of images")],
    maps: Annotated[
        Path, typer.Argument(metavar="MASKS", help="the folder of class-id maps, as PNG")
    ],
    out: Out,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="ID=NAME",
            help="what a number in the maps stands for; again for each. They are renumbered from 0",
        ),
    ] = None,
    mask_suffix: Annotated[
        str, typer.Option(metavar="TEXT", help="a.jpg has the map a<TEXT>.png")
    ] = "",
    split: Split = "train",
    shard_size: ShardSize = SIZE,
) -> None:
    """A folder of images and a folder of class-id maps of the same names.

    Maps are gray or palette PNG; 255 is a pixel that nobody labelled.

    noiseloom import masks images/ masks/ shards/cells --class 0=background --class 255=cell
    """
    from jobs.import_data import import_data
    from pipeline.importing.masks import parse_ids, read_masks

    ids = parse_ids(classes or ())
    import_data(
        lambda: read_masks(images, maps, split=split, mask_suffix=mask_suffix, ids=ids),
        out,
        shard_size,
        _console(),
    )


def _console() -> Console:
    return Console(stderr=True)
