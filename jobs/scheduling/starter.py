"""`python -m jobs.scheduling.starter`, in the cluster: creates the night's RayJob, and waits.

The RayJob has one name for all nights. One that has ended is removed first; one that still runs, of
the night before or of a starter that was lost, is waited for instead: two never run at once. Ends
with 0 if the run succeeded, with 4 if it did not, and with 1 where the API server cannot be asked,
which is tried again.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from rich.console import Console

from schemas.errors import NoiseloomError, RunError

FOLDER: Final = "/etc/noiseloom/night"
MANIFEST: Final = "rayjob.json"
ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"

NIGHT: Final = "NOISELOOM_NIGHT"
"""The environment variable with the name of the CronJob's Job, the same for all its pods."""

NIGHT_OF: Final = "noiseloom/night"
"""The annotation of a RayJob that says which Job has made it."""

NIGHT_FAILED: Final = RunError.exit_code
POLL_S: Final = 15.0
PATIENCE: Final = 40
"""Questions in a row that the API server may leave unanswered: ten minutes."""

_ENDED: Final = ("Complete", "Failed", "ValidationFailed")
"""Of `status.jobDeploymentStatus`; KubeRay's retries are not among them."""

_DELETED: Final = "{name}: somebody has deleted it while it ran; the next night goes on from there"

_TIMEOUT_S: Final = 30


class ApiError(NoiseloomError):
    """The API server refuses, or does not answer."""


@dataclass(frozen=True)
class Api:
    """The RayJobs of a namespace. `account` is the folder with the token, which changes hourly, and
    with the certificate of the server.
    """

    server: str
    namespace: str
    account: Path
    poll_s: float = POLL_S

    def get(self, name: str) -> dict[str, Any] | None:
        """The RayJob, if it is there."""
        return self._patiently("GET", f"/{name}", None, {404})

    def create(self, manifest: dict[str, Any]) -> bool:
        """Whether it was created; False where one of this name is there."""
        return self._patiently("POST", "", manifest, {409}) is not None

    def delete(self, name: str) -> None:
        """With all that belongs to it; that it is gone, `get` says."""
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"}
        self._patiently("DELETE", f"/{name}", options, {404, 409})

    def _patiently(
        self, method: str, path: str, body: dict[str, Any] | None, fine: set[int]
    ) -> dict[str, Any] | None:
        """The answer, or None for a status that is `fine`; what may pass is tried again."""
        for attempt in range(1, PATIENCE + 1):
            try:
                return self._ask(method, path, body)
            except HTTPError as error:
                if error.code in fine:
                    return None
                said = f"{error.code} {error.reason}"
                if error.code < 500 and error.code not in (401, 408, 429):
                    raise ApiError(f"{method} {self._url(path)}: {said}") from None
            except (URLError, OSError) as error:
                said = str(error)
            if attempt == PATIENCE:
                break
            time.sleep(self.poll_s)
        raise ApiError(f"{method} {self._url(path)}: {said}, {PATIENCE} times in a row")

    def _url(self, path: str) -> str:
        return f"{self.server}/apis/ray.io/v1/namespaces/{self.namespace}/rayjobs{path}"

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        headers = {
            "Authorization": f"Bearer {(self.account / 'token').read_text().strip()}",
            "Content-Type": "application/json",
        }
        data = None if body is None else json.dumps(body).encode()
        request = Request(self._url(path), data, headers, method=method)  # noqa: S310 - our own server
        context = None
        if self.server.startswith("https:"):
            context = ssl.create_default_context(cafile=str(self.account / "ca.crt"))
        with urlopen(request, timeout=_TIMEOUT_S, context=context) as answer:  # noqa: S310
            found: dict[str, Any] = json.load(answer)
        return found


def run_night(api: Api, manifest: dict[str, Any], night: str, console: Console) -> None:
    """Returns when the night's RayJob has succeeded; RunError where it has not."""
    name = manifest["metadata"]["name"]
    annotated = manifest["metadata"].get("annotations", {}) | {NIGHT_OF: night}
    mine = manifest | {"metadata": manifest["metadata"] | {"annotations": annotated}}
    created = False
    while True:
        found = api.get(name)
        if found is None and created:
            raise RunError(_DELETED.format(name=name))
        if found is None:
            created = api.create(mine)
            if created:
                console.print(f"{name}: created", highlight=False)
        elif found["metadata"].get("deletionTimestamp"):
            pass  # it is going
        elif not _ended(found):
            if _night_of(found) != night:
                console.print(
                    f"{name}: the night before still runs; waiting for it, and starting no other",
                    highlight=False,
                )
            _wait(api, found)
            return
        elif _night_of(found) == night:
            _check(found)
            return
        else:
            api.delete(name)
        time.sleep(api.poll_s)


def _wait(api: Api, running: dict[str, Any]) -> None:
    name, uid = running["metadata"]["name"], running["metadata"]["uid"]
    while not _ended(running):
        time.sleep(api.poll_s)
        found = api.get(name)
        if found is None or found["metadata"]["uid"] != uid:
            raise RunError(_DELETED.format(name=name))
        running = found
    _check(running)


def _check(ended: dict[str, Any]) -> None:
    status = ended["status"]
    if status["jobDeploymentStatus"] == "Complete" and status.get("jobStatus") == "SUCCEEDED":
        return
    said = ", ".join(
        str(status[key]) for key in ("jobStatus", "reason", "message") if status.get(key)
    )
    raise RunError(f"{ended['metadata']['name']}: {said}; the next night goes on from there")


def _ended(job: dict[str, Any]) -> bool:
    return job.get("status", {}).get("jobDeploymentStatus") in _ENDED


def _night_of(job: dict[str, Any]) -> str:
    return str(job["metadata"].get("annotations", {}).get(NIGHT_OF, ""))


def main() -> None:
    """The entry point in the pod."""
    console = Console(stderr=True)
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    host = f"[{host}]" if ":" in host else host
    account = Path(ACCOUNT)
    api = Api(f"https://{host}:{port}", (account / "namespace").read_text().strip(), account)
    manifest = json.loads((Path(FOLDER) / MANIFEST).read_text())
    try:
        run_night(api, manifest, os.environ[NIGHT], console)
    except NoiseloomError as error:
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    console.print("the night has succeeded")


if __name__ == "__main__":
    main()
