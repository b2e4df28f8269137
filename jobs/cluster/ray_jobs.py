"""`Jobs`, asked of Ray's job server through Ray's own client. Imports ray: import it late.

Ray's client sets no time limit, tells an address that does not answer by a chained traceback, and
logs what it uploads; here requests end within seconds, and everything that goes wrong is one line.
It needs nothing but what noiseloom brings anyway: requests, and aiohttp for the tail of a log.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

import aiohttp
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobSubmissionClient

from jobs.cluster.api import Job, JobState, Order
from schemas.errors import ClusterError

CONNECT_S: Final = 5.0
ANSWER_S: Final = 60.0
"""An upload of the largest package, and the start of a job's supervisor, are within it."""

QUIET_S: Final = 10.0
"""After so long without a line whoever listens is told."""

_CHATTY: Final = (
    "ray.dashboard.modules.job.sdk",
    "ray.dashboard.modules.dashboard_sdk",
    "ray._private.runtime_env.packaging",
)
_TAKEN: Final = "already exists"
_TOKEN: Final = "RAY_AUTH_TOKEN, or a file named by RAY_AUTH_TOKEN_PATH"  # noqa: S105 - names

ResultT = TypeVar("ResultT")


class _Client(JobSubmissionClient):  # type: ignore[misc]
    """Ray's, with an end to its waiting."""

    def _do_request(self, *args: Any, **kwargs: Any) -> requests.Response:
        response: requests.Response = super()._do_request(
            *args, timeout=(CONNECT_S, ANSWER_S), **kwargs
        )
        return response


class RayJobs:
    """The jobs of one cluster."""

    def __init__(self, client: _Client, address: str) -> None:
        self._client = client
        self.address = address

    def submit(self, order: Order) -> bool:
        """As `Jobs.submit`."""

        def send() -> bool:
            self._client.submit_job(
                entrypoint=order.command,
                submission_id=order.id,
                runtime_env={
                    "working_dir": str(order.folder),
                    "env_vars": dict(order.variables),
                },
                metadata=dict(order.metadata),
                entrypoint_num_cpus=order.cpus or None,
                entrypoint_memory=order.memory or None,
            )
            return True

        try:
            return self._asked(send)
        except ClusterError as error:
            if _TAKEN in str(error.__cause__):
                return False
            raise

    def all(self) -> list[Job]:
        """As `Jobs.all`."""
        details = self._asked(self._client.list_jobs)
        submitted = [one for one in details if one.submission_id is not None]
        return [_job(one) for one in sorted(submitted, key=lambda one: one.start_time or 0)]

    def stop(self, job: str) -> None:
        """As `Jobs.stop`."""
        self._asked(lambda: self._client.stop_job(job))

    def log(self, job: str) -> str:
        """As `Jobs.log`."""
        return str(self._asked(lambda: self._client.get_job_logs(job)))

    def tail(self, job: str) -> Iterator[str]:
        """As `Jobs.tail`."""
        with asyncio.Runner() as runner:
            lines = self._client.tail_job_logs(job)
            waiting: asyncio.Task[str] | None = None

            async def more() -> str | None:
                nonlocal waiting
                waiting = waiting or asyncio.ensure_future(_next(lines))
                done, _ = await asyncio.wait({waiting}, timeout=QUIET_S)
                if not done:
                    return ""
                said, waiting = waiting, None
                return await said

            while True:
                try:
                    text = self._asked(lambda: runner.run(more()))
                except StopAsyncIteration:
                    return
                yield text or ""

    def _asked(self, ask: Callable[[], ResultT]) -> ResultT:
        try:
            return ask()
        except (AuthenticationError, OSError, RuntimeError, ValueError, aiohttp.ClientError) as e:
            raise ClusterError(f"{self.address}: {_reason(e)}") from e


async def _next(lines: AsyncIterator[str]) -> str:
    return await anext(lines)


def open_jobs(address: str, ca: Path | None) -> RayJobs:
    """Asks the server who it is; ClusterError where it is no job server of Ray, or refuses."""
    for logger in _CHATTY:
        logging.getLogger(logger).setLevel(logging.ERROR)
    try:
        return RayJobs(_Client(address, verify=True if ca is None else str(ca)), address)
    except (AuthenticationError, OSError) as error:  # those of requests are OSErrors
        raise ClusterError(f"{address}: {_reason(error)}") from error
    except (RuntimeError, ValueError, KeyError) as error:
        says = "answers, but not as a job server of Ray: name the port of the dashboard, 8265"
        raise ClusterError(f"{address}: {says} ({_first_line(error)})") from error


def _reason(error: BaseException) -> str:
    """In one line, with what to do."""
    for one in _chain(error):
        if isinstance(one, requests.exceptions.SSLError):
            return _tls_reason(str(one))
    if isinstance(error, AuthenticationError):
        return _token_reason(str(error))
    if isinstance(error, requests.Timeout | TimeoutError):
        return f"no answer within {ANSWER_S:.0f} s"
    if isinstance(error, ConnectionError | requests.ConnectionError):
        return "nothing answers there; is the cluster up, and this the port of its dashboard?"
    return _first_line(error)


def _tls_reason(said: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" not in said:
        return "does not speak TLS; is it http://?"
    found = re.search(r"certificate verify failed: ([^()]*)", said)
    why = found[1].strip() if found else "certificate verify failed"
    return f"{why}; name whom to trust: --ca FILE, or REQUESTS_CA_BUNDLE"


def _token_reason(said: str) -> str:
    if said.startswith("Authentication required"):
        return f"lets nobody in without a token: set RAY_AUTH_MODE=token and {_TOKEN}"
    if said.startswith("Authentication failed"):
        return f"refuses the token: what is in {_TOKEN} is not the cluster's"
    return said.partition(". ")[0]  # no token where one is looked for


def _chain(error: BaseException) -> Iterator[BaseException]:
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__ or one.__context__


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:300]


def _job(details: JobDetails) -> Job:
    state = str(details.status)
    assert state in get_args(JobState), state
    started = details.start_time
    return Job(
        id=details.submission_id,
        state=state,  # type: ignore[arg-type]
        message=details.message or "",
        metadata=details.metadata or {},
        started=None if started is None else datetime.fromtimestamp(started / 1000, UTC),
        exit_code=details.driver_exit_code,
    )
