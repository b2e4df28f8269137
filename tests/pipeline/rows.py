"""Index rows for tests."""

from __future__ import annotations

from schemas.index import AppliedOp, IndexRow, Score, Status

Woven = list[tuple[IndexRow, dict[str, bytes]]]


def row(
    key: str, status: Status = "kept", *, copy: int = 0, chunk: str = "c0", run: str = "r"
) -> IndexRow:
    """A row as the chain leaves it: without a shard, without members."""
    kept = status == "kept"
    return IndexRow(
        sample_id=f"id-{key}-{copy}",
        status=status,
        reason=None if kept else "too_small",
        detail=None if kept else "3 px",
        quarantine=None,
        repairs=(),
        source_shard="in/a.tar",
        source_key=key,
        source_hash="00",
        copy=copy,
        chunk=chunk,
        shard=None,
        key=None,
        members=(),
        width=8,
        height=6,
        boxes=((0.0, 1.0, 2.5, 3.0),),
        labels=("cell",),
        ops=(AppliedOp("flip#0", "flip", None, None, "{}"),),
        psnr=None,
        ssim=0.5,
        scores=(Score("size", 3.0),),
        seed=7,
        run=run,
        recipe="d",
    )


def woven(chunk: str = "c0", run: str = "r", content: bytes = b"x") -> Woven:
    """A chunk of three kept, one rejected and one failed copy."""
    files = {"png": content * 600, "json": b"{}"}
    kept = [(row("a", copy=n, chunk=chunk, run=run), files) for n in range(2)]
    return [
        *kept,
        (row("b", "rejected", chunk=chunk, run=run), {}),
        (row("c", "failed", chunk=chunk, run=run), {}),
        (row("d", chunk=chunk, run=run), files),
    ]
