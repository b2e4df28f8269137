"""The direction of imports, read from the source: schemas <- pipeline <- jobs, and never back."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("schemas", "pipeline", "jobs")
FILES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
ENTRIES = sorted((ROOT / "jobs" / "cli").glob("*.py"))
SCHEMAS_MAY_IMPORT = {"numpy", "pydantic", "pyarrow"}


def imported(path: Path, passing: tuple[type[ast.AST], ...] = ()) -> Iterator[str]:
    """Every module that a file imports, lazily or not; `passing`: nodes that are passed over."""
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, passing):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        pending.extend(ast.iter_child_nodes(node))


def tops(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported(path)}


def files(layer: str) -> list[Path]:
    return [path for path in FILES if path.is_relative_to(ROOT / layer)]


def test_there_is_something_to_check() -> None:
    assert all(files(layer) for layer in LAYERS)


def test_schemas_import_the_standard_library_numpy_pydantic_and_pyarrow_only() -> None:
    legal = SCHEMAS_MAY_IMPORT | {"schemas"} | set(sys.stdlib_module_names)
    assert {str(path): tops(path) - legal for path in files("schemas") if tops(path) - legal} == {}


def test_pipeline_never_imports_jobs() -> None:
    assert [path for path in files("pipeline") if "jobs" in tops(path)] == []


def test_nothing_imports_the_tests() -> None:
    assert [path for path in FILES if "tests" in tops(path)] == []


def test_only_the_flow_and_its_meter_import_ray_in_the_library() -> None:
    knowing = {path for path in files("pipeline") if "ray" in tops(path)}
    flow = ROOT / "pipeline" / "flow"
    assert {path for path in knowing if not path.is_relative_to(flow)} == {
        ROOT / "pipeline" / "metering.py"
    }
    assert {path.name for path in knowing if path.is_relative_to(flow)} == {
        "graph.py",
        "errors.py",
        "source.py",
    }


def test_only_jobs_know_mlflow() -> None:
    assert [path for path in FILES if "mlflow" in tops(path) and path not in files("jobs")] == []


@pytest.mark.parametrize("folder", ["ops", "gates"])
def test_an_op_or_a_gate_never_imports_another_one(folder: str) -> None:
    paths = [p for p in (ROOT / "pipeline" / folder).glob("*.py") if p.name != "__init__.py"]
    kinds = {f"pipeline.{folder}.{path.stem}" for path in paths if declares_kind(path)}
    package = f"pipeline.{folder}"
    for path in paths:
        own = f"{package}.{path.stem}"
        others = {name for name in imported(path) if name in kinds - {own} or name == package}
        assert others == set(), f"{path.name} imports {others}"


def declares_kind(path: Path) -> bool:
    """Whether a file defines an op or a gate: a class with a field `kind`."""
    return any(
        isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "kind"
        for node in ast.walk(ast.parse(path.read_text()))
    )


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda path: path.stem)
def test_the_command_line_imports_its_jobs_lazily(entry: Path) -> None:
    eager = set(imported(entry, passing=(ast.FunctionDef,)))
    others = {name for name in eager if name.partition(".")[0] in ("jobs", "pipeline")}
    assert {name for name in others if not name.startswith("jobs.cli")} == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_what_it_is_for_and_stays_readable(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "no module docstring"
    assert len(text.splitlines()) <= 320, "about 300 lines is the limit: split it by what it does"


def test_there_is_no_file_called_utils() -> None:
    assert [path for path in FILES if path.stem in ("utils", "helpers", "common")] == []
