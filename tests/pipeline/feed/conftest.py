"""A finished run in a sink, and plain shards with instance masks, once for all tests here."""

from __future__ import annotations

import pytest

from jobs.run.plan import RunPlan
from schemas.recipe import Source
from tests.jobs.sinks import finish, planned_run, weave
from tests.pipeline.woven_sets import write_masked


@pytest.fixture(scope="session")
def planned(tmp_path_factory: pytest.TempPathFactory) -> RunPlan:
    """Twelve kept copies of six samples, in four chunks; two more copies failed."""
    planned = planned_run(tmp_path_factory.mktemp("feed"))
    weave(planned)
    finish(planned)
    return planned


@pytest.fixture(scope="session")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Five samples in two shards, with boxes, instance masks and class-id maps."""
    return write_masked(tmp_path_factory.mktemp("masked"))
