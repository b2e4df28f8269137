"""Buckets, and what lies in a folder in the first of them: `load.py FOLDER BUCKET [BUCKET ...]`.

    data/bccd/train-000000.tar  ->  s3://noiseloom/data/bccd/train-000000.tar

What is there in the same size stays as it is. Credentials and address come from the environment.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError


def load(s3: Any, folder: Path, buckets: list[str]) -> int:
    """How many files were sent."""
    for bucket in buckets:
        try:
            s3.head_bucket(Bucket=bucket)
        except ClientError:
            s3.create_bucket(Bucket=bucket)
    sent = 0
    for path in sorted(folder.rglob("*.tar")):
        key = f"data/{path.relative_to(folder).as_posix()}"
        if size(s3, buckets[0], key) != path.stat().st_size:
            s3.upload_file(str(path), buckets[0], key)
            sent += 1
    return sent


def size(s3: Any, bucket: str, key: str) -> int | None:
    """Of an object, or None where there is none."""
    try:
        return int(s3.head_object(Bucket=bucket, Key=key)["ContentLength"])
    except ClientError:
        return None


if __name__ == "__main__":
    folder, *buckets = sys.argv[1:]
    sent = load(boto3.client("s3"), Path(folder), buckets)
    print(f"{sent} files sent to s3://{buckets[0]}/data")  # noqa: T201 - what the log of compose shows
