"""A connection to a cluster's job server: the address, the token, the certificate.

Ray's own variables hold: RAY_AUTH_MODE=token with the token in RAY_AUTH_TOKEN, in the file
RAY_AUTH_TOKEN_PATH or in ~/.ray/auth_token. A token that is given in the first two ways means that
mode. Whoever may submit a job runs code: where the server takes jobs without a token, that is said.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from rich.console import Console
from rich.markup import escape

from jobs.cluster.api import Job, Jobs
from schemas.errors import ClusterError

ADDRESS: Final = "RAY_API_SERVER_ADDRESS"
"""Ray's variable for the address of the job server."""

ANSWER_S: Final = 10.0

_HERE: Final = ("127.0.0.1", "::1", "localhost")


def connect(address: str, ca: Path | None = None) -> Jobs:
    """The jobs of the cluster whose dashboard is at this address; ClusterError, within seconds,
    where that cannot be. `ca`: a file or a folder of certificates to trust instead of the usual.
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        says = "is no address of a job server; write http://head:8265, or https://..."
        raise ClusterError(f"--address: {address!r} {says}")
    if parts.username or parts.password:
        says = "names somebody; a token goes into RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
        raise ClusterError(f"--address: {parts.scheme}://***@{parts.hostname}: {says}")
    if ca is not None and not ca.exists():
        raise ClusterError(f"--ca: {ca}: is not there; name a file of certificates (PEM)")
    if any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")):
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ[ADDRESS] = address  # Ray's client lets the variable win over what it is told
    from jobs.cluster.ray_jobs import open_jobs  # Ray reads the environment

    return open_jobs(address.rstrip("/"), ca)


def jobs_or_none(address: str | None, ca: Path | None, console: Console) -> list[Job]:
    """The jobs of a cluster that need not be there: where none is named, or none answers, none."""
    if address is None:
        return []
    try:
        return connect(address, ca).all()
    except ClusterError as error:
        console.print(f"{error}; what follows is from the sink alone", markup=False, soft_wrap=True)
        return []


def open_to_all(address: str, ca: Path | None = None) -> bool:
    """Whether the job server answers somebody without a token."""
    import requests

    url = f"{address.rstrip('/')}/api/jobs/nobody"  # not the version, which everyone may be told
    try:
        answer = requests.get(url, timeout=ANSWER_S, verify=True if ca is None else str(ca))
    except requests.RequestException:
        return False
    return answer.status_code not in (401, 403)


def warn_of_risks(address: str, open_to_everyone: bool, console: Console) -> None:
    """Says what somebody else could do with this server."""
    parts = urlsplit(address)
    says = None
    if open_to_everyone:
        says = (
            "takes jobs without a token: whoever reaches this port runs code on the cluster, with "
            "its credentials. Start Ray with RAY_AUTH_MODE=token"
        )
    elif parts.scheme == "http" and parts.hostname not in _HERE:
        says = (
            "is not encrypted: the token can be read on the way. Use https, or a tunnel (kubectl "
            "port-forward, ssh -L)"
        )
    if says is not None:
        text = f"[yellow]warning[/yellow]: {escape(address)} {says}"
        console.print(text, highlight=False, soft_wrap=True)
