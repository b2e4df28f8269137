"""What a store's troubles are called, and the exit code that they get."""

import errno
import os
import pickle

import pytest

from pipeline.storage.cloud_errors import TransientError
from pipeline.storage.trouble import storage_error
from schemas.errors import AccessError, FullError, SinkError

PLACE = "s3://lab/cells"


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"{PLACE}/a"), FullError, 6),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), FullError, 6),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), f"{PLACE}/a"), AccessError, 5),
        (PermissionError(errno.EACCES, "the credentials have expired"), AccessError, 5),
        (TransientError(errno.EIO, "the store answered 503", f"{PLACE}/a"), SinkError, 3),
        (OSError(errno.ENODEV, "there is no such bucket", f"{PLACE}/a"), SinkError, 3),
        (FileNotFoundError(errno.ENOENT, "there is no such file", f"{PLACE}/a"), SinkError, 3),
        (OSError("no number\nand two lines"), SinkError, 3),
    ],
)
def test_a_full_store_and_a_locked_one_have_exit_codes_of_their_own(
    error: OSError, kind: type[Exception], code: int
) -> None:
    for met in (error, pickle.loads(pickle.dumps(error))):  # it may come from another process
        told = storage_error(met, PLACE, SinkError)
        assert type(told) is kind
        assert told.exit_code == code
        assert PLACE in str(told)
        assert "\n" not in str(told) and "[Errno" not in str(told)


def test_the_file_is_named_once() -> None:
    error = OSError(errno.ENODEV, "there is no such bucket", f"{PLACE}/a")
    assert str(storage_error(error, PLACE, SinkError)) == f"{PLACE}/a: there is no such bucket"
    assert (
        str(storage_error(error, f"{PLACE}/a", SinkError)) == f"{PLACE}/a: there is no such bucket"
    )
    assert (
        str(storage_error(error, f"{PLACE}/a: cannot be read", SinkError))
        == f"{PLACE}/a: cannot be read: there is no such bucket"
    )
    assert (
        str(storage_error(error, "the plan", SinkError))
        == f"the plan: {PLACE}/a: there is no such bucket"
    )


def test_advice_is_given_once() -> None:
    expired = "the credentials have expired: get new ones (400 ExpiredToken)"
    error = PermissionError(errno.EACCES, expired, PLACE)
    assert str(storage_error(error, PLACE, SinkError)) == f"{PLACE}: {expired}"
    plain = OSError(errno.EROFS, os.strerror(errno.EROFS), PLACE)
    assert "make it writable" in str(storage_error(plain, PLACE, SinkError))
