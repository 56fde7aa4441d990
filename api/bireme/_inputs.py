"""Arrays by name as a file, and from one."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bireme.ir import Array, BiremeError
from bireme.ir.data import random_arrays
from bireme.runtime import Model


def random_inputs(model: Model, sizes: Mapping[str, int | range]) -> dict[str, Array]:
    """Reproducible data for every input; a symbolic size that `sizes` does not give is the least
    one that the model takes, from 1 on.
    """
    known = {name: max(1, least) for name, (least, _) in model.symbols.items()}
    known |= {name: s if isinstance(s, int) else s.start for name, s in sizes.items()}
    return random_arrays(
        (
            info.name,
            info.dtype,
            tuple(d if isinstance(d, int) else known.get(str(d), 1) for d in info.shape),
        )
        for info in model.inputs
    )


def npz(arrays: Mapping[str, Array]) -> bytes:
    """Arrays as the contents of an .npz file."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def read_inputs(path: Path, model: Model) -> dict[str, Array]:
    """Arrays of an .npz file by name, for a compiled model. Raises BM6001."""
    return read_arrays(path, {info.name: info.dtype for info in model.inputs})


def read_arrays(path: Path, types: Mapping[str, np.dtype[Any]]) -> dict[str, Array]:
    """Arrays of an .npz file by name. Raises BM6001.

    The file format knows no types but NumPy's own, and keeps others as raw bytes: those get the
    element type that `types` has for the name.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise BiremeError("BM6001", f"not a readable .npz file: {error}", where=str(path)) from None
    for name, array in arrays.items():
        dtype = types.get(name, array.dtype)
        if array.dtype.kind == "V" and array.dtype.itemsize == dtype.itemsize:
            arrays[name] = array.view(dtype)
    return arrays
