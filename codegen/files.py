"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from bireme.ir import BiremeError


def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes a file beside its place and moves it there when it is complete. Raises BM3006."""
    target = Path(path)
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        scratch = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            scratch.chmod(0o666 & ~_umask())
            scratch.replace(target)
        except BaseException:
            scratch.unlink()
            raise
    except OSError as error:
        raise BiremeError("BM3006", str(error.strerror), where=str(path)) from None


def _umask() -> int:
    """The process's umask; the system only tells it when it is set."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
