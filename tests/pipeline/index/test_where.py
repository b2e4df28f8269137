"""`where` means what SQL would mean: DuckDB over the same index is the judge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from pipeline.index.conditions import held
from pipeline.index.files import index_file
from pipeline.index.where import parse
from schemas.errors import RecipeError
from schemas.index import AppliedOp, Score, rows_to_table
from tests.pipeline.rows import row


def applied(kind: str, strength: float | None = None, model: str | None = None) -> AppliedOp:
    return AppliedOp(f"{kind}#0", kind, model, strength, "{}")


def table() -> pa.Table:
    flip, paint = applied("flip"), applied("inpaint", 0.3, "m1")
    rows = [
        replace(row("a"), ops=(flip,), ssim=0.5),
        replace(row("b"), ops=(flip, paint), ssim=0.3),
        replace(row("c"), ops=(paint, applied("restyle", 0.9)), ssim=None, psnr=20.0),
        replace(row("d"), ops=(), labels=("cell", "it's"), boxes=((0.0, 0.0, 1.0, 1.0),) * 2),
        replace(row("e"), labels=(), boxes=(), scores=()),
        replace(row("f"), scores=(Score("size", 1.0), Score("ssim", 0.9)), width=100),
        row("g", "rejected"),
        row("h", "failed"),
    ]
    return rows_to_table(rows)


def keys(text: str) -> list[str]:
    (batch,) = table().combine_chunks().to_batches()
    mask = held(parse(text), batch)
    found: list[str] = batch.filter(mask).column("source_key").to_pylist()
    return found


PAINT = "len(list_filter(ops, lambda x: x.kind = 'inpaint')) > 0"
OTHERS = "len(list_filter(ops, lambda x: x.kind in ('flip', 'restyle'))) > 0"
MODEL = "len(list_filter(ops, lambda x: x.model is not null)) > 0"
STRONG = "len(list_filter(ops, lambda x: x.strength > 0.4)) > 0"
SAME = (
    ("ssim > 0.4", "ssim > 0.4"),
    ("not (ssim > 0.4)", "not (ssim > 0.4)"),
    ("ssim is null", "ssim is null"),
    ("ssim is not null and psnr is null", "ssim is not null and psnr is null"),
    ("psnr >= 20 or ssim < 0.4", "psnr >= 20 or ssim < 0.4"),
    ("ssim > 0.4 or psnr > 1 and width = 8", "ssim > 0.4 or psnr > 1 and width = 8"),
    ("source_key in ('a', 'b', 'zz')", "source_key in ('a', 'b', 'zz')"),
    ("source_key not in ('a')", "source_key not in ('a')"),
    ("width between 8 and 99.5", "width between 8 and 99.5"),
    ("copy = 0 AND width <> 8", "copy = 0 and width <> 8"),
    ("op = 'inpaint'", PAINT),
    ("op != 'inpaint'", f"not ({PAINT})"),
    ("op not in ('flip', 'restyle')", f"not ({OTHERS})"),
    ("ssim > 0.2 and op == 'inpaint'", f"ssim > 0.2 and {PAINT}"),
    ("model is not null", MODEL),
    ("model is null", f"not ({MODEL})"),
    ("strength > 0.4", STRONG),
    ("strength.inpaint < 0.4", PAINT),
    ("label = 'it''s'", "list_contains(labels, 'it''s')"),
    ("objects > 1", "len(labels) > 1"),
    ("not objects > 0", "len(labels) = 0"),
    ("score.size < 2", "list_filter(scores, lambda x: x.gate = 'size')[1].score < 2"),
    ("not score.size < 2", "not list_filter(scores, lambda x: x.gate = 'size')[1].score < 2"),
    ("score.ssim is null", "list_filter(scores, lambda x: x.gate = 'ssim')[1].score is null"),
    ("score.size != 1", "list_filter(scores, lambda x: x.gate = 'size')[1].score != 1"),
)


@pytest.mark.parametrize(("text", "sql"), SAME, ids=[text for text, _ in SAME])
def test_an_expression_means_what_sql_means(text: str, sql: str, tmp_path: Path) -> None:
    (tmp_path / "i.parquet").write_bytes(index_file([table()]))
    said = f"select source_key from '{tmp_path}/i.parquet' where status = 'kept' and ({sql})"
    expected = [key for (key,) in duckdb.sql(said).fetchall()]
    assert keys(text) == sorted(expected)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ssmi > 0.4", 'character 1: there is no column "ssmi"; did you mean ssim?'),
        ("ssim > 0.4 and", "character 15: ends where a column should follow"),
        ("ssim > '0.4'", "where a number should stand"),
        ("op = 3", "where text in single quotes should stand"),
        ('op = "inpaint"', "text stands between single quotes"),
        ("ssim", "one of = != < <= > >= in between is"),
        ("(ssim > 1", "ends where ) should follow"),
        ("ssim > 1)", "where and, or, or the end should stand"),
        ("op.kind = 'x'", 'there is no column "op.kind"'),
        ("__import__('os')", 'there is no column "__import__"'),
        ("ssim > 1; drop table", "is no part of an expression"),
        ("not " * 60 + "ssim > 1", "more than 50"),
        ("(" * 60 + "ssim > 1", "more than 50"),
        ("ssim > 1 or " * 900 + "ssim > 1", "characters, 4000 at most"),
        ("", "ends where a column should follow"),
    ],
)
def test_a_mistake_is_told_in_one_line_with_its_place(text: str, says: str) -> None:
    with pytest.raises(RecipeError) as error:
        parse(text)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
