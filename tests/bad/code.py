"""Members that would run code in a reader that unpickles or imports them."""

from __future__ import annotations

import io
import pickle
import zipfile
from functools import partial
from typing import Final

import numpy as np

from tests.bad.building import Case, Kinds, case, sample

CANARY: Final = "noiseloom-canary"
"""The file that a payload makes, where the process that runs it works."""

GREETING: Final = f"open({CANARY!r}, 'w')\n".encode()


class _Payload:
    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (CANARY, "w")


def payload(protocol: int = 2) -> bytes:
    """A pickle that makes the canary when it is read."""
    return pickle.dumps(_Payload(), protocol)


def npy() -> bytes:
    """A NumPy array of objects: a pickle behind a header."""
    buffer = io.BytesIO()
    np.save(buffer, np.array([_Payload()], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def torch_file() -> bytes:
    """What `torch.save` leaves: a zip with a pickle in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", payload())
        file.writestr("archive/version", "3\n")
    return buffer.getvalue()


def carrying(**members: bytes) -> Case:
    """A whole sample with more members, which are passed over."""
    return case(sample("bad", **members), legal=("bad",), findings=("unknown_members",))


def instead(member: str, slug: str, data: bytes) -> Case:
    """A sample of which a member is code."""
    return case(sample("bad", **{member: data}), failed={"bad": slug})


KINDS: Final[Kinds] = {
    "code_pickle": partial(carrying, pickle=payload(), pkl=payload(0)),
    "code_pyd": partial(carrying, pyd=payload()),
    "code_pth": partial(carrying, pth=torch_file(), pt=torch_file(), ckpt=payload()),
    "code_npy": partial(carrying, npy=npy(), npz=npy()),
    "code_python": partial(carrying, py=GREETING, pyc=GREETING, sh=b"touch " + CANARY.encode()),
    "code_joblib": partial(carrying, joblib=payload(), dill=payload(), h5=payload()),
    "code_yaml": partial(carrying, yaml=b"!!python/object/apply:os.system ['touch x']\n"),
    "code_as_image": partial(instead, "png", "unknown_format", payload()),
    "code_as_labels": partial(instead, "json", "bad_labels", payload()),
    "code_as_class_map": partial(instead, "seg_png", "bad_class_map", npy()),
}
