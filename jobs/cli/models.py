"""`noiseloom models`: what a recipe's models are, and how they come to the machines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(
    name="models",
    help="Look at a recipe's models, or fetch them before a run.",
    no_args_is_help=True,
)

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="a recipe, as YAML")]


@app.command()
def check(recipe: RecipeFile) -> None:
    """Say what each model is and can do, and whether it fits the recipe; load none."""
    from jobs.models import check as look

    look(recipe, Console(stderr=True))


@app.command()
def fetch(recipe: RecipeFile) -> None:
    """Download the repositories that a recipe names, at their commits, into the local cache.

    For the head node, or the building of an image: a run never asks the network.
    Those of the lift test of `publish:` are fetched, too.
    HF_HOME says where the cache is, HF_TOKEN signs in where a repository asks.
    """
    from jobs.models import fetch as download

    download(recipe, Console(stderr=True))
