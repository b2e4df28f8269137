"""The command line. Each command imports its job when it is called: `--help` loads nothing heavy.

An error with a message for the user ends as that message on stderr and its own exit code; anything
else is a bug and keeps its traceback.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from rich.console import Console
from rich.status import Status

from jobs.cli.cluster import logs, status, stop, submit
from jobs.cli.export import export
from jobs.cli.history import history
from jobs.cli.importing import app as import_app
from jobs.cli.models import app as models_app
from jobs.cli.schedule import schedule
from schemas.errors import NoiseloomError

RUN, LOOK, CLUSTER = "Run a recipe", "Look at what came out", "On a cluster, every night"
DATA, MODELS = "Data of other formats", "Models, and whether they help"

STOPPED: Final = (130, 143)
"""After Ctrl-C, by typer, and after SIGTERM (`jobs.stopping`): 128 and the signal's number."""

app = typer.Typer(
    name="noiseloom",
    help="Weaves more training data out of a labelled image dataset; the labels stay true.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="a recipe, as YAML")]
Sink = Annotated[str, typer.Argument(metavar="SINK", help="the sink of a run: a folder or a URL")]


class ModelKind(StrEnum):
    """What can be trained."""

    DENOISER = "denoiser"
    UPSCALER = "upscaler"
    DETECTOR = "detector"


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"noiseloom {version('noiseloom')}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """What stands before any command."""


@app.command(rich_help_panel=RUN)
def run(
    recipe: RecipeFile,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="check everything, print the plan, start nothing")
    ] = False,
) -> None:
    """Run a recipe, or go on with it after a kill."""
    with _starting():
        from jobs.run import augment

    if dry_run:
        augment.dry_run(recipe, _console())
    else:
        augment.augment(recipe, _console())


@app.command(rich_help_panel=RUN)
def preview(
    recipe: RecipeFile,
    n: Annotated[int, typer.Option("-n", min=1, max=64, help="how many samples")] = 8,
    out: Annotated[
        Path | None, typer.Option(help="the picture; <recipe>-preview.png if left out")
    ] = None,
) -> None:
    """Make a contact sheet, before and after, in seconds; no shard is written."""
    with _starting():
        from jobs.preview import preview as make_preview

    make_preview(recipe, n, out, _console())


@app.command(rich_help_panel=LOOK)
def verify(
    sink: Sink,
    replay: Annotated[
        int, typer.Option(min=0, metavar="N", help="make N samples again and compare the bytes")
    ] = 0,
) -> None:
    """Check everything that the index says against the shards."""
    with _starting():
        from jobs.verify.sink import verify as check

    raise typer.Exit(check(sink, replay, _console()))


@app.command(rich_help_panel=LOOK)
def gc(
    sink: Sink,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="only tell what would be removed")
    ] = False,
    abandon: Annotated[
        str | None, typer.Option(metavar="RUN", help="give up a run that is not finished")
    ] = None,
) -> None:
    """Remove what nothing refers to; never what a run may still need."""
    from jobs import gc as job

    if dry_run:
        job.dry_run(sink, abandon, _console())
    else:
        job.gc(sink, abandon, _console())


@app.command(rich_help_panel=RUN)
def retry(
    sink: Sink,
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="a published run; all if left out")
    ] = None,
) -> None:
    """Make again what failed, and nothing else; or go on with it after a kill."""
    from jobs.retry import retry as again

    again(sink, run, _console())


@app.command(rich_help_panel=LOOK)
def gates(
    sink: Sink,
    run: Annotated[
        str | None, typer.Option(metavar="RUN", help="a published run; all if left out")
    ] = None,
    score: Annotated[
        str | None, typer.Option(metavar="NAME", help="tell all of this score, or of this gate's")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="the page; out/gates-<sink> if left out")
    ] = None,
) -> None:
    """Show the scores of all copies, with pictures, and what any threshold would keep."""
    from jobs.gates.scores import gates as tell

    tell(sink, run, score, out, _console())


@app.command(rich_help_panel=LOOK)
def regate(
    sink: Sink,
    file: Annotated[Path, typer.Argument(metavar="GATES", help="`gates:` as in a recipe, as YAML")],
    run: Annotated[str, typer.Option(metavar="RUN", help="a published run, or all")] = "all",
) -> None:
    """Apply other gates to what is published: a new run from the stored scores, without a GPU."""
    from jobs.gates.regate import regate as judge

    judge(sink, file, run, _console())


@app.command(rich_help_panel=LOOK)
def show(
    sink: Sink,
    key: Annotated[str, typer.Argument(metavar="KEY", help="a sample's key or id")],
) -> None:
    """Print a sample's whole history, and write its picture."""
    from jobs.show import show as tell

    tell(sink, key, _console())


@app.command(rich_help_panel=MODELS)
def train(
    kind: Annotated[
        ModelKind,
        typer.Argument(metavar="KIND", help="what to train"),
    ],
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="a training configuration, as YAML")
    ],
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="check everything, say how long it takes, start nothing"),
    ] = False,
) -> None:
    """Train a model on your own shards, or go on after a kill."""
    if kind is ModelKind.DETECTOR:
        if dry_run:
            raise typer.BadParameter("--dry-run is for denoisers and upscalers")
        from jobs.training.detector import train_detector_job

        train_detector_job(config, _console())
        return
    with _starting():
        from jobs.training import train as job

    model: Literal["denoiser", "upscaler"] = (
        "denoiser" if kind is ModelKind.DENOISER else "upscaler"
    )
    if dry_run:
        job.dry_run(model, config, _console())
    else:
        job.train(model, config, _console())


@app.command(rich_help_panel=MODELS)
def quality(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="the folder of a denoiser or an upscaler")
    ],
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="shards to judge on, or a training YAML")
    ],
    images: Annotated[int, typer.Option(min=1, help="at most so many images for each part")] = 24,
    pairs: Annotated[int, typer.Option(min=1, help="synthesize: so many made pairs")] = 48,
    steps: Annotated[int, typer.Option(min=1, help="synthesize: of the detectors")] = 400,
    only: Annotated[str, typer.Option(help="the parts to measure, with commas between")] = "",
    detector: Annotated[
        Path | None, typer.Option(help="a detector's folder; MODEL/../detector if left out")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="MODEL/quality if left out")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads")] = 1,
) -> None:
    """Measure how good a model is: tables and pictures, against what anybody can run."""
    from jobs.training.quality import Settings
    from jobs.training.quality import quality as measure

    parts = tuple(name.strip() for name in only.split(",") if name.strip())
    settings = Settings(images, pairs, steps, seed, parts, detector, out, threads)
    measure(model, data, settings, _console())


@app.command(rich_help_panel=MODELS)
def evaluate(
    lift: Annotated[Path, typer.Argument(metavar="LIFT", help="a lift test, as YAML")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="check everything, leaks too; train nothing")
    ] = False,
) -> None:
    """Say whether augmentation helps: students of several arms, or go on with them after a kill."""
    with _starting():
        from jobs.lift import evaluate as job

    if dry_run:
        job.dry_run(lift, _console())
    else:
        job.evaluate(lift, _console())


app.command(rich_help_panel=LOOK)(history)
for _command in (submit, status, logs, stop, schedule):
    app.command(rich_help_panel=CLUSTER)(_command)
app.add_typer(import_app, rich_help_panel=DATA)
app.command(rich_help_panel=DATA)(export)
app.add_typer(models_app, rich_help_panel=MODELS)


def main() -> None:
    """The entry point."""
    try:
        app(prog_name="noiseloom")
    except NoiseloomError as error:
        _console().print(
            _harmless(str(error)), style="red", markup=False, highlight=False, soft_wrap=True
        )
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code in STOPPED:
            _console().print(
                "stopped; what is committed stays, the same command goes on from there"
            )
        raise


def _harmless(text: str) -> str:
    """A message may quote what it found anywhere: nothing in it may steer a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def _starting() -> Status:
    """On a terminal, a sign of life while a job and what it needs are imported."""
    return _console().status("starting")


def _console() -> Console:
    return Console(stderr=True)
