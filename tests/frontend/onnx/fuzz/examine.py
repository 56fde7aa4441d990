"""What must hold for any bytes: they are imported, or refused with a code, in bounded time and
memory.
"""

from __future__ import annotations

import re
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from bireme.frontend.onnx import check, guess, load
from bireme.ir import BiremeError
from tests.frontend.onnx.fuzz.seeds import DATA_FILE, DATA_SIZE

# Of the processor's time, for one model.
SECONDS = 20
MEMORY = 2 << 30
_CODE = re.compile(r"BM\d{4}\Z")


class Overtime(BaseException):
    """Not an Exception: nothing in between may catch it."""


def examine(data: bytes, folder: Path, *, inference: bool = False) -> str:
    """Imports a model, from bytes and from a file; gives the error's code, or nothing.

    Raises what importing raises besides a BiremeError, and AssertionError when `check` and `load`
    disagree. `inference`: whether types behind refused nodes are inferred, which takes a process
    of its own each time.
    """
    with _stand_ins(inference), _limited():
        try:
            reports = check(data)
        except BiremeError as error:
            return _code(error)
        path = folder / "model.onnx"
        path.write_bytes(data)
        try:
            load(path)
        except BiremeError as error:
            if error.code != "BM1004" and all(r.supported for r in reports):
                raise AssertionError(f"check found nothing, but load refuses: {error}") from error
            return _code(error)
        return ""


def prepare(folder: Path) -> None:
    """Puts the file with external data in a folder, and limits the memory of this process."""
    (folder / DATA_FILE).write_bytes(bytes(DATA_SIZE))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGPROF, _overtime)


def _code(error: BiremeError) -> str:
    assert _CODE.match(error.code), error
    assert error.detail, error
    return error.code


def _overtime(signum: int, frame: FrameType | None) -> None:
    raise Overtime(f"more than {SECONDS} s of processor time")


@contextmanager
def _limited() -> Iterator[None]:
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


@contextmanager
def _stand_ins(inference: bool) -> Iterator[None]:
    """Without inference, stand-ins have the types that the model itself states."""
    own = guess._inferred
    if not inference:
        guess._inferred = lambda model: None
    try:
        yield
    finally:
        guess._inferred = own
