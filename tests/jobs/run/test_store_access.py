"""A store that lets nobody in: one clear line, an exit code of its own, and no secret in it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.s3.proxy import FOREVER, SECRETS, Fault, Kind, Proxy
from tests.s3.server import ACCESS_KEY, SECRET_KEY

SECRET = [ACCESS_KEY, SECRET_KEY, *re.findall(r">([^<]+)<", SECRETS)]
RECIPE = """
source: {{shards: "{bucket}/cells/train-000000.tar", image: [jpg], labels: json}}
sink: {bucket}/woven
seed: 7
copies: 1
chunk_size: 8
ops:
  - {{kind: classic, transforms: [{{HorizontalFlip: {{}}}}]}}
"""


@pytest.mark.parametrize(
    ("kind", "command", "said"),
    [
        ("ExpiredToken", "run --dry-run", "expired"),
        ("RequestTimeTooSkewed", "verify", "clock"),
    ],
)
def test_a_store_that_refuses_ends_a_command_with_one_line_and_code_5(
    s3_proxy: Proxy, s3_bucket: str, tmp_path: Path, kind: Kind, command: str, said: str
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(bucket=s3_bucket))
    s3_proxy.plan(Fault(kind, times=FOREVER))
    about = s3_bucket if command == "verify" else str(recipe)
    done = subprocess.run(
        [sys.executable, "-c", "from jobs.cli.main import main; main()", *command.split(), about],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        check=False,
    )
    assert s3_proxy.injected[kind]
    assert done.returncode == 5, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1
    assert s3_bucket in lines[0] and said in lines[0] and kind in lines[0]
    assert not [secret for secret in SECRET if secret in done.stdout + done.stderr]
