"""Every error that a user can cause or meet, as one tree.

    NoiseloomError          exit code 1   anything below; printed without a traceback
    ├── RecipeError         exit code 2   a recipe, a training config or a command line is wrong
    ├── SourceError         exit code 2   a source shard is missing, unreadable or has changed
    ├── ModelError          exit code 2   a model folder is missing, damaged or of the wrong kind
    ├── ClusterError        exit code 2   a cluster does not answer, refuses, or has no such job
    │   └── BusyError       exit code 7   the same work is under way there; nothing was started
    ├── SinkError           exit code 3   the sink cannot be written, or holds something else
    ├── RunError            exit code 4   a run stopped: too many failures, lost samples
    ├── AccessError         exit code 5   a store refuses: read-only, credentials, a wrong clock
    ├── FullError           exit code 6   a disk or a quota is full
    └── SampleError         (none)        one sample is bad; becomes a row in the index, never ends
    a run

A message names the place, the value, and what to do.
"""

from __future__ import annotations


class NoiseloomError(Exception):
    """Base of all errors with a message meant for the user."""

    exit_code = 1


class RecipeError(NoiseloomError):
    """A recipe or a configuration file cannot be used as it is."""

    exit_code = 2


class SourceError(NoiseloomError):
    """A source shard is missing, unreadable, or not what the plan names."""

    exit_code = 2


class ModelError(NoiseloomError):
    """A model folder is missing, damaged, or cannot do the job it is asked to do."""

    exit_code = 2


class ClusterError(NoiseloomError):
    """A cluster does not answer, lets nobody in, or has no such job."""

    exit_code = 2


class BusyError(ClusterError):
    """The same work is under way on the cluster; nothing was started."""

    exit_code = 7


class SinkError(NoiseloomError):
    """The sink cannot be written, or holds what contradicts this run."""

    exit_code = 3


class RunError(NoiseloomError):
    """A run had to stop; starting it again resumes it."""

    exit_code = 4


class AccessError(NoiseloomError):
    """A store refuses: it is read-only, the credentials are wrong or expired, the clock is off."""

    exit_code = 5


class FullError(NoiseloomError):
    """No space is left where something must be written; what is committed stays."""

    exit_code = 6


class SampleError(NoiseloomError):
    """One sample cannot be processed. `slug` is countable and fixed; `detail` is for a reader."""

    def __init__(self, slug: str, detail: str = "") -> None:
        super().__init__(f"{slug}: {detail}" if detail else slug)
        self.slug = slug
        self.detail = detail

    def __reduce__(self) -> tuple[type[SampleError], tuple[str, str]]:
        return SampleError, (self.slug, self.detail)
