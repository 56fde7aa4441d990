"""Reads options that hold more than a word: sizes, constants."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bireme._inputs import read_arrays
from bireme.ir import Array, BiremeError, Graph


def parse_dims(options: Sequence[str] | None) -> dict[str, int | range]:
    """`batch=1` and `batch=1..64` → sizes and ranges, both ends inclusive. Raises BM6002."""
    dims: dict[str, int | range] = {}
    for option in options or ():
        name, _, text = option.partition("=")
        first, dots, last = text.partition("..")
        try:
            least = int(first)
            dims[name] = range(least, int(last) + 1) if dots else least
        except ValueError:
            raise BiremeError(
                "BM6002", f"expected NAME=SIZE or NAME=LEAST..MOST; found {option!r}", where="--dim"
            ) from None
    return dims


def parse_choices(options: Sequence[str] | None) -> list[dict[str, list[int]]]:
    """`batch=1,seq=16,64` → for each option the sizes of each symbol. Raises BM6002."""
    choices = []
    for option in options or ():
        choice: dict[str, list[int]] = {}
        name = ""
        for part in option.split(","):
            before, equals, text = part.rpartition("=")
            name = before if equals else name
            if not name or not text.strip().isdecimal():
                detail = f"expected NAME=SIZE,SIZE,...; found {option!r}"
                raise BiremeError("BM6002", detail, where="--specialize")
            choice.setdefault(name, []).append(int(text))
        choices.append(choice)
    return choices


def parse_constants(options: Sequence[str] | None) -> dict[str, Array]:
    """`NAME=FILE.npy` → arrays by name. Raises BM6001 or BM6002."""
    constants = {}
    for option in options or ():
        name, equals, path = option.partition("=")
        if not equals:
            raise BiremeError(
                "BM6002", f"expected NAME=FILE.npy; found {option!r}", where="--constant"
            )
        try:
            constants[name] = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise BiremeError("BM6001", str(error), where=path) from None
    return constants


def parse_range(option: str | None) -> tuple[int, int] | None:
    """`0..100` → both ends, which are inclusive. Raises BM6002."""
    if option is None:
        return None
    first, dots, last = option.partition("..")
    try:
        low, high = int(first), int(last)
    except ValueError:
        dots = ""
    if not dots or low > high:
        raise BiremeError("BM6002", f"expected LEAST..MOST; found {option!r}", where="--range")
    return low, high


def read_calibration(paths: Sequence[Path] | None, graph: Graph) -> list[dict[str, Array]]:
    """For each .npz file the arrays by name, for a graph. Raises BM6001."""
    named = zip(graph.input_names, graph.inputs, strict=True)
    types = {name: value.type.dtype.numpy for name, value in named}
    return [read_arrays(path, types) for path in paths or ()]
