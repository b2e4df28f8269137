"""The pictures of docs/gallery.md, a contact sheet per op and sample dataset: `make gallery`."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from jobs.preview import op_sheets

ROWS = 3
WIDTH = 1400
HERE = Path(__file__).parent / "gallery"


def main() -> None:
    """All sheets, and the page that shows them."""
    console = Console()
    lines = [
        "# Every op on the sample datasets",
        "",
        "Made by `make gallery`, from the samples in `data/` and the models in `weights/`. A row "
        "is one sample: source, what was made of it, and both with their labels.",
    ]
    for recipe in sorted(HERE.glob("*.yaml")):
        lines += ["", f"## {recipe.stem}"]
        folder = HERE / recipe.stem
        folder.mkdir(exist_ok=True)
        for name, sheet in op_sheets(recipe, ROWS, console):
            path = folder / f"{name}.jpg"
            height = sheet.height * WIDTH // sheet.width
            sheet.convert("RGB").resize((WIDTH, height)).save(path, quality=82)
            console.print(path.relative_to(HERE.parent.parent))
            lines += ["", f"### {name}", "", f"![{name}]({path.relative_to(HERE.parent)})"]
    (HERE.parent / "gallery.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
