"""State dicts in safetensors files."""

from __future__ import annotations

import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from bireme.frontend.nn.module import Module
from bireme.ir import Array, BiremeError


def save_safetensors(module: Module, path: str | os.PathLike[str]) -> None:
    """Writes the module's state dict. Raises BM3006 when the file cannot be written."""
    state = {name: array.copy(order="C") for name, array in module.state_dict().items()}
    try:
        save_file(state, Path(path))
    except (OSError, SafetensorError) as error:
        raise BiremeError("BM3006", str(error), where=str(path)) from None


def load_safetensors(
    module: Module, path: str | os.PathLike[str], *, prefix: str = "", strict: bool = True
) -> None:
    """Loads a state dict; `prefix` (such as `"bert."`) is taken off names, others are left out.

    Raises BM6001 for an unreadable file, BM1009 for one that does not fit.
    """
    try:
        state: dict[str, Array] = load_file(Path(path))
    except (OSError, SafetensorError) as error:
        raise BiremeError("BM6001", str(error), where=str(path)) from None
    wanted = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    module.load_state_dict(wanted, strict)
