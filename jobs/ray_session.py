"""Ray for one command: embedded, quiet, gone at the end.

`address="local"` always: a bare `ray.init` joins whatever cluster it finds. With RAY_ADDRESS set
(a submitted job), Ray is joined there.

The token that its processes know each other by is made for the session and stays in their
environment: Ray would keep one in the home folder, where two first runs at once overwrite each
other's, and then wait for ever for workers that nobody lets in.
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from jobs.last_word import last_word
from jobs.stopping import sigterm_kept
from pipeline.storage.trouble import storage_error
from schemas.errors import NoiseloomError, RunError

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_LOG_LEVEL": "CRITICAL",  # errors are raised, and said once, in our words
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # its C++ side writes to our stderr
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",  # every line: raylets push tracebacks, even unlogged ones
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # leaves actors without GPUs as they are; no warning
    "RAY_worker_niceness": "0",  # Ray's 15 starves the actors beside any other process
    "RAY_COLOR_PREFIX": "0",
    "RAY_task_oom_retries": "15",  # Ray's -1 tries for ever what no memory will ever hold
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "OMP_WAIT_POLICY": "passive",  # threads that spin while they wait would fight over the cores
}


FALLEN = """\
This process was ended from outside: Ray's node process beside it (raylet) died, or somebody killed
it, as the kernel does where memory is short. What was written stays; start the same command again,
it goes on from there. Where it ends so again: the kernel's log (`dmesg`) names what it killed, and
Ray's logs are in {logs}"""

JOIN_TRIES = "1"
"""It waits 40 s for a cluster that does not answer yet (measured); Ray's own 20 are 14 minutes."""


def hush_ray() -> None:
    """Before anything of Ray is imported: it reads the environment then."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


@contextmanager
def ray_session(num_cpus: int | None = None) -> Iterator[None]:
    """Ray is up inside the block, and down after it. `num_cpus`: what Ray may hand out, or all
    cores.
    """
    hush_ray()
    address = os.environ.get("RAY_ADDRESS", "local")
    if address == "local":
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    else:
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", JOIN_TRIES)
    import ray

    with _native_stderr_held(), start_errors(address), sigterm_kept():
        ray.init(
            address=address,
            num_cpus=num_cpus if address == "local" else None,
            include_dashboard=None if address != "local" else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=True,
        )
    try:
        here = ray.get_runtime_context()
        logs = f"{here.get_temp_dir()}/{here.get_session_name()}/logs"
        with last_word(FALLEN.format(logs=logs)):
            yield
    finally:
        ray.shutdown()


@contextmanager
def start_errors(address: str) -> Iterator[None]:
    """What keeps Ray from starting, or from being joined, as a message."""
    try:
        yield
    except ConnectionError as error:
        raise RunError(f"RAY_ADDRESS: {address}: no cluster of Ray answers there") from error
    except OSError as error:  # it writes to its own folder before anything else
        folder = os.environ.get("RAY_TMPDIR", "/tmp")  # noqa: S108 - where Ray is without it
        raise storage_error(error, f"Ray's folder in {folder}", RunError) from error
    except Exception as error:  # Ray's own for a node that is not up after 30 s is a bare one
        says = next(iter(str(error).splitlines()), type(error).__name__)
        raise RunError(
            f"Ray did not start: {says}; start the same command again, on a less busy machine"
        ) from error


@contextmanager
def _native_stderr_held() -> Iterator[None]:
    """Descriptor 2 is a file inside the block, shown only if the block fails by what has no message
    of ours.

    Ray's C++ side says there that it was told to be quiet, and what it tried in vain.
    """
    sys.stderr.flush()
    terminal, unforeseen = os.dup(2), True
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
            unforeseen = False
        except NoiseloomError:
            unforeseen = False
            raise
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
            if unforeseen:
                held.seek(0)
                os.write(2, held.read())
