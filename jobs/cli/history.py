"""The command `noiseloom history SINK`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console


def history(
    sink: Annotated[str, typer.Argument(metavar="SINK", help="the sink: a folder or a URL")],
) -> None:
    """List the nights: new samples, what was kept, what they cost, verdicts, links."""
    from jobs.history import history as tell

    tell(sink, Console())
