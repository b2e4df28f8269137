"""What went wrong at an object store, as an OSError with one line of text and without secrets.

obstore's errors are prose: a URL (with the signature in it, on Azure), the store's answer (in which
S3 returns access keys and session tokens), a dump of structures. Here the status and the error code
are picked out of it, and nothing else is passed on.

    PermissionError       credentials missing, expired or wrong; refused; the clock is off
    FileNotFoundError     no such object
    TransientError        may work the next time: 5xx, 429, time-outs, broken connections
    OSError with errno    ENOSPC (quota), ENODEV (no such bucket), ESTALE (the object changed), EIO

Whoever catches obstore's error must leave its `except` before raising what `told` returns, so that
no traceback shows the original as its context.
"""

from __future__ import annotations

import errno
import os
import re
from typing import Final

from obstore.exceptions import (
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

OBSTORE_ERRORS: Final = (BaseError, FileNotFoundError, ValueError, NotImplementedError)
"""All that obstore raises."""

_STATUS: Final = re.compile(r"status code: (\d{3})")
_CODE: Final = re.compile(r"<Code>(\w+)</Code>|\(code: (\w+)\)")
_OS_ERROR: Final = re.compile(r"\(os error (\d+)\)")
_KIND: Final = re.compile(r"kind: (Connect|Request|Timeout|Interrupted|Decode|Unknown)\b")
_CERTIFICATE: Final = re.compile(r"InvalidCertificate|UnknownIssuer|certificate verify")
_INCOMPLETE: Final = re.compile(r"Missing ?(SecretAccessKey|AccessKeyId|Account|Credential)")
_BUILDER: Final = re.compile(r"kind: Builder\b")

_CLOCK: Final = "the clock of this machine is wrong: set it, for instance by NTP"
_REGION: Final = "the bucket is in another region: set AWS_REGION to its own"
_REFUSED: Final = {
    "AccessDenied": "these credentials may not do this: check their policy for this bucket",
    "AccountProblem": "the store has locked this account",
    "AuthenticationFailed": "the credentials are wrong or expired: check them, and the clock",
    "AuthorizationFailure": "these credentials may not do this: check their role",
    "AuthorizationPermissionMismatch": "these credentials may not do this: check their role",
    "ExpiredToken": "the credentials have expired: get new ones",
    "ExpiredTokenException": "the credentials have expired: get new ones",
    "InvalidAccessKeyId": "the store does not know this access key: check AWS_ACCESS_KEY_ID",
    "InvalidToken": "the session token is wrong: check AWS_SESSION_TOKEN",
    "RequestExpired": _CLOCK,
    "RequestTimeTooSkewed": _CLOCK,
    "SignatureDoesNotMatch": "the secret key is wrong: check AWS_SECRET_ACCESS_KEY",
    "TokenRefreshRequired": "the credentials have expired: get new ones",
}
_WRONG: Final = {
    "AuthorizationHeaderMalformed": (errno.EINVAL, _REGION),
    "BucketAlreadyExists": (errno.EINVAL, "the bucket is somebody else's"),
    "ContainerNotFound": (errno.ENODEV, "there is no such container"),
    "EntityTooLarge": (errno.EFBIG, "the file is larger than the store takes"),
    "NoSuchBucket": (errno.ENODEV, "there is no such bucket"),
    "PermanentRedirect": (errno.EINVAL, _REGION),
    "QuotaExceeded": (errno.ENOSPC, "the store's quota is used up"),
    "XMinioStorageFull": (errno.ENOSPC, "the store is full"),
}
_PASSING: Final = frozenset(
    {"InternalError", "OperationAborted", "RequestTimeout", "ServerBusy", "SlowDown"}
    | {"ServiceUnavailable", "Throttling", "ThrottlingException", "TooManyRequests"}
)
_METADATA: Final = ("/latest/api/token", "/latest/meta-data", "/computeMetadata", "/metadata/")
_KINDS: Final = {
    "Connect": "the store cannot be reached: check the network and the endpoint",
    "Timeout": "no answer in time",
}


class TransientError(OSError):
    """What may work the next time."""


def told(error: Exception, where: str) -> OSError:
    """The OSError for what obstore raised at `where`; an OSError of ours is returned as it is."""
    if isinstance(error, OSError) and error.errno is not None:
        return error
    status, code = status_of(error), code_of(error)
    named = " ".join(str(part) for part in (status, code) if part)
    return (
        _by_login(str(error), status, where)
        or _by_code(code, named, where)
        or _by_type(error, named, where)
        or _by_status(status, named, where)
        or _by_cause(str(error), where)
    )


def status_of(error: Exception) -> int | None:
    """The HTTP status that obstore's error tells of."""
    found = _STATUS.search(str(error))
    return int(found[1]) if found else None


def code_of(error: Exception) -> str:
    """The store's error code, as `SlowDown`; "" where it gave none."""
    found = _CODE.search(str(error))
    return found[1] or found[2] if found else ""


def _by_login(text: str, status: int | None, where: str) -> OSError | None:
    """Where it was not the store that answered, but who hands out the credentials for it."""
    if not any(path in text for path in _METADATA) and "invalid_grant" not in text:
        return None
    if status is None or status == 429 or status >= 500:
        return TransientError(errno.EIO, "nobody hands out credentials just now", where)
    text = f"the machine or its login gives no credentials for this store ({status})"
    return PermissionError(errno.EACCES, text, where)


def _by_code(code: str, named: str, where: str) -> OSError | None:
    if code in _REFUSED:
        return PermissionError(errno.EACCES, f"{_REFUSED[code]} ({named})", where)
    if code in _WRONG:
        number, what = _WRONG[code]
        return OSError(number, f"{what} ({named})", where)
    if code in _PASSING:
        return TransientError(errno.EIO, f"the store answered {named}", where)
    return None


def _by_type(error: Exception, named: str, where: str) -> OSError | None:
    match error:
        case FileNotFoundError():
            return FileNotFoundError(errno.ENOENT, "there is no such file", where)
        case PreconditionError():
            return OSError(errno.ESTALE, "it has changed since it was planned", where)
        case PermissionDeniedError() | UnauthenticatedError():
            return PermissionError(errno.EACCES, f"the store refuses it ({named})", where)
        case _:
            return None


def _by_status(status: int | None, named: str, where: str) -> OSError | None:
    text = f"the store answered {named}"
    match status:
        case None:
            return None
        case 401 | 403:
            return PermissionError(errno.EACCES, f"the store refuses it ({named})", where)
        case 404:
            return FileNotFoundError(errno.ENOENT, "there is no such file", where)
        case 301 | 307:
            return OSError(errno.EINVAL, f"{_REGION} ({named})", where)
        case 507:
            return OSError(errno.ENOSPC, f"the store is full ({named})", where)
    passing = status in (408, 409, 429) or (status >= 500 and status not in (501, 505))
    return (TransientError if passing else OSError)(errno.EIO, text, where)


def _by_cause(text: str, where: str) -> OSError:
    if _INCOMPLETE.search(text):
        return PermissionError(
            errno.EACCES, f"credentials are incomplete: {_harmless(text)}", where
        )
    if _CERTIFICATE.search(text):
        text = "the certificate of the endpoint is not trusted: set AWS_ROOT_CERTIFICATE to its own"
        return OSError(errno.EIO, text, where)
    kind = _KIND.search(text)
    if kind and not _BUILDER.search(text):
        what = _KINDS.get(kind[1], "the connection broke")
        return TransientError(errno.EIO, what, where)
    if number := _OS_ERROR.search(text):
        return OSError(int(number[1]), os.strerror(int(number[1])), where)
    return OSError(errno.EIO, _harmless(text), where)


def _harmless(text: str) -> str:
    """Its first line without what the store said, URLs' queries and whom they name."""
    line = text.partition("\n")[0].partition("<")[0]
    line = re.sub(r"\?\S+", "", line)
    return re.sub(r"//[^/\s]*@", "//", line).strip()[:300] or "an unknown trouble"
