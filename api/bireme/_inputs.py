"""Arrays by name as the contents of a file."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np

from bireme.ir import Array


def npz(arrays: Mapping[str, Array]) -> bytes:
    """Arrays as the contents of an .npz file."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
