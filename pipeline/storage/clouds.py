"""How an object store is opened: how long one request may take, and whose credentials are used.

    open_cloud("s3://lab/cells")                     for reading, listing, deleting
    open_cloud("s3://lab/cells", sending=300 << 20)  for a PUT of so many bytes

Credentials, regions, endpoints and client settings (`AWS_ALLOW_HTTP`, `AWS_PROXY_URL`,
`AWS_READ_TIMEOUT`, ...; `GOOGLE_...`, `AZURE_...` for the others) come from the environment. Where
there are none, the cloud libraries ask the metadata service of a virtual machine, for minutes where
there is no such service: here it is tried for a second, and its absence is a PermissionError.
Where no keys are set, those in `~/.aws/credentials` are used, as AWS's own tools do.

The libraries' own retries are kept short: what they cannot mend is mended by `retrying.py`, which
knows which bytes it has, and how long it is worth while to go on.
"""

from __future__ import annotations

import configparser
import errno
import os
import socket
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from obstore.store import ObjectStore, from_url

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

CONNECT: Final = 5
"""Seconds for a connection: three lost SYN packets."""

QUIET: Final = 15
"""Seconds without a byte of an answer before a request counts as hung. S3 answers within 1 s, under
load within 10. A signal is heard only when a request ends, and a run that is told to stop has 30 s.
"""

WHOLE: Final = 300
"""Seconds for a whole answer: 64 MiB at 0.22 MB/s. What came is kept when it is over."""

SLOWEST: Final = 1_000_000
"""Bytes per second: nothing comes while a PUT is sent, so QUIET grows by its size at this rate."""

SDK_RETRIES: Final[RetryConfig] = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=10),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=1),
        "base": 2,
    },
}
"""A lone 503 or reset costs 0.1 s; a request that hung for QUIET is not repeated down there."""

PREFIXES: Final = {"s3": "AWS", "gs": "GOOGLE", "az": "AZURE"}

_CLIENT_SETTINGS: Final = (
    "allow_http",
    "allow_invalid_certificates",
    "connect_timeout",
    "pool_idle_timeout",
    "pool_max_idle_per_host",
    "proxy_ca_certificate",
    "proxy_excludes",
    "proxy_url",
    "read_timeout",
    "root_certificate",
    "timeout",
    "user_agent",
)
# Words in the names of those variables that bring credentials, or say that none are needed.
_BRINGING: Final = (
    "ACCESS_KEY",
    "ACCOUNT_KEY",
    "CLIENT_ID",
    "CREDENTIALS",
    "EMULATOR",
    "METADATA",
    "MSI",
    "IDENTITY",
    "SAS_",
    "SERVICE_ACCOUNT",
    "SKIP_SIGNATURE",
    "TOKEN",
    "USE_AZURE_CLI",
)
_METADATA: Final = {
    "s3": ("169.254.169.254", 80),
    "gs": ("metadata.google.internal", 80),
    "az": ("169.254.169.254", 80),
}
_WANTED: Final = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}


def open_cloud(url: str, sending: int = 0) -> ObjectStore:
    """The connection to s3://, gs:// or az://, one per process and size of what is sent."""
    quiet = QUIET
    while sending > quiet * SLOWEST:
        quiet *= 2
    return _opened(url, quiet)


@lru_cache(maxsize=64)
def _opened(url: str, quiet: int) -> ObjectStore:
    scheme = url.partition("://")[0]
    keys = _shared_keys() if scheme == "s3" and not _brought(scheme) else {}
    if not keys:
        _check_credentials(scheme, url)
    options: dict[str, str] = {
        "connect_timeout": f"{CONNECT}s",
        "read_timeout": f"{quiet}s",
        "timeout": f"{max(WHOLE, quiet)}s",
    }
    # obstore reads these from the environment only where it is given no options at all (0.12.1).
    for name in _CLIENT_SETTINGS:
        value = os.environ.get(f"{PREFIXES[scheme]}_{name.upper()}")
        if value:
            options[name] = value
    if scheme == "s3":
        _check_endpoint(url, options)
    return from_url(
        url,
        config=cast("S3Config", keys),
        client_options=cast("ClientConfig", options),
        retry_config=SDK_RETRIES,
    )


def _check_endpoint(url: str, options: dict[str, str]) -> None:
    """Who names an endpoint without TLS wants none; obstore panics at what is no URL."""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        endpoint = os.environ.get(name, "")
        if endpoint.startswith("http://"):
            options.setdefault("allow_http", "true")
        elif endpoint and not endpoint.startswith("https://"):
            text = f"{name} must begin with http:// or https://"
            raise OSError(errno.EINVAL, text, url)


def _brought(scheme: str) -> bool:
    """Whether the environment brings credentials, or says that none are needed."""
    prefix = f"{PREFIXES[scheme]}_"
    names = {name for name, value in os.environ.items() if value and name.startswith(prefix)}
    names -= {"AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_DISABLED"}
    return any(word in name for name in names for word in _BRINGING)


def _shared_keys() -> dict[str, str]:
    """The keys of the profile in the file that AWS's tools share; nothing where there is none."""
    file = os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or Path.home() / ".aws" / "credentials"
    parser = configparser.RawConfigParser()
    try:
        parser.read(file, encoding="utf-8")
        section = dict(parser[os.environ.get("AWS_PROFILE") or "default"])
    except (configparser.Error, KeyError, OSError, ValueError):
        return {}
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    return {name: section[name] for name in names if name in section}


def _check_credentials(scheme: str, url: str) -> None:
    if _brought(scheme) or (scheme == "gs" and _gcloud_login().exists()):
        return
    try:
        socket.create_connection(_METADATA[scheme], timeout=1).close()
    except OSError:
        text = f"no credentials were found; set {_WANTED[scheme]} in the environment"
        raise PermissionError(errno.EACCES, text, url) from None


def _gcloud_login() -> Path:
    return Path.home() / ".config" / "gcloud" / "application_default_credentials.json"
