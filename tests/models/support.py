"""Compiled models beside ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import bireme
from bireme.ir import Array
from tests.frontend.onnx.support import onnxruntime_run

# Largest difference over the largest magnitude of an output.
RELATIVE = 1e-3


def package(name: str) -> Path:
    """The folder of a package whose files are wanted, without importing it."""
    spec = find_spec(name)
    assert spec, f"{name} is not installed"
    assert spec.origin, f"{name} has no folder"
    return Path(spec.origin).parent


def assert_agree(found: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    """Same names, types, shapes and, within RELATIVE, numbers; integers exactly."""
    assert list(found) == list(expected)
    for name, wanted in expected.items():
        value = found[name]
        assert (value.dtype, value.shape) == (wanted.dtype, wanted.shape), name
        if wanted.dtype.kind == "f":
            largest = np.abs(wanted).max()
            assert largest > 0, f"{name} is zero: nothing is compared"
            assert np.abs(value - wanted).max() <= RELATIVE * largest, name
        else:
            np.testing.assert_array_equal(value, wanted)


class Pair:
    """A model file compiled once, and ONNX Runtime on the same file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.program = bireme.compile(path)

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Runs both, compares them, and gives our outputs."""
        found = self.program(inputs)
        assert_agree(found, onnxruntime_run(str(self.path), inputs))
        return found
