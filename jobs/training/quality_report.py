"""The tables of `noiseloom quality`: in the terminal, as a page, as JSON, in the model card."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image
from rich.console import Console
from rich.table import Table as RichTable

from pipeline.quality.table import Check, Result, Table

BEGIN: Final = "<!-- quality: made by `noiseloom quality`; the next run replaces it -->"
END: Final = "<!-- end of quality -->"
COLOURS: Final = 256
PLAIN_PIXELS: Final = 1_500_000
"""Pictures of more pixels get a palette of `COLOURS`, which keeps sheets below a megabyte; smaller
ones keep every shade, for single pixels are looked at in them."""


def print_table(table: Table, console: Console) -> None:
    """The table, and its targets below it."""
    console.print(f"\n{table.title}", style="bold", markup=False, soft_wrap=True)
    shown = RichTable()
    for i, name in enumerate(("", *table.columns)):
        shown.add_column(name, justify="right" if i else "left")
    for row in table.rows:
        shown.add_row(row.name, *("" if v is None else str(v) for v in row.values))
    console.print(shown)
    for check in table.checks:
        console.print(f"  {_line(check)}", style="green" if check.met else "red", markup=False)


def save_pictures(result: Result, folder: Path) -> dict[str, str]:
    """Writes the pictures of a part; file names by caption."""
    names = {}
    for i, (caption, picture) in enumerate(result.pictures.items()):
        name = f"{result.table.part}-{i + 1}.png"
        shown = picture.convert("RGB")
        if shown.width * shown.height > PLAIN_PIXELS:
            shown = shown.quantize(COLOURS, Image.Quantize.MEDIANCUT)
        shown.save(folder / name, optimize=True)
        names[caption] = name
    return names


def write_page(
    folder: Path, model: str, data: str, parts: Sequence[tuple[Table, dict[str, str]]]
) -> None:
    """`README.md`: every table with its pictures; `quality.json`: the numbers."""
    sections = [_section(table, pictures, "##") for table, pictures in parts]
    head = f"# Quality of {model}\n\nOn `{data}`, by `noiseloom quality`.\n\n"
    (folder / "README.md").write_text(head + "\n".join(sections))
    tables = [table.model_dump(mode="json") for table, _ in parts]
    text = json.dumps({"model": model, "data": data, "tables": tables}, indent=1)
    (folder / "quality.json").write_text(text + "\n")


def write_into_card(
    card: Path, report: str, data: str, parts: Sequence[tuple[Table, dict[str, str]]]
) -> None:
    """The section `Quality` of a model card, in place of an older one; `report` is the folder of
    the page as the card sees it.
    """
    sections = [
        _section(table, {c: f"{report}/{name}" for c, name in pictures.items()}, "###")
        for table, pictures in parts
    ]
    body = f"{BEGIN}\n## Quality\n\nOn `{data}`, by `noiseloom quality`.\n\n"
    body += "\n".join(sections) + f"{END}\n"
    text = card.read_text() if card.is_file() else ""
    old = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END) + "\n?", re.DOTALL)
    rest = old.sub("", text).rstrip()
    card.write_text(f"{rest}\n\n{body}" if rest else body)


def _section(table: Table, pictures: dict[str, str], heading: str) -> str:
    header = " | ".join(["", *table.columns])
    lines = [
        f"{heading} {table.title}\n",
        f"{table.note}\n",
        f"|{header} |",
        "|" + "---|" * (len(table.columns) + 1),
    ]
    for row in table.rows:
        cells = ["" if value is None else str(value) for value in row.values]
        lines.append("| " + " | ".join([row.name, *cells]) + " |")
    if table.checks:
        lines += ["", "| target | reached | |", "|---|---|---|"]
        lines += [f"| {c.says} | {c.reached:.3g} | {_met(c)} |" for c in table.checks]
    lines += [f"\n![{caption}]({name})" for caption, name in pictures.items()]
    return "\n".join(lines) + "\n"


def _line(check: Check) -> str:
    return f"{check.says}; reached {check.reached:.3g}: {_met(check)}"


def _met(check: Check) -> str:
    return "met" if check.met else "**missed**"
