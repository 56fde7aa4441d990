"""Artefacts of every released format version stay readable.

The files in tests/golden/ were written once, by `artefacts.py` of their time, and are never written
again: a runtime that cannot read one has broken the promise of docs/stability.md.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bireme.runtime import Model, Session

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
VERSIONS = ("v1", "v2")


def test_every_file_is_tested() -> None:
    names = {path.relative_to(GOLDEN).as_posix() for path in GOLDEN.rglob("*.bireme")}
    assert names == {f"{v}/{n}.bireme" for v in VERSIONS for n in ("doubling", "constant", "first")}


@pytest.fixture(params=VERSIONS)
def folder(request: pytest.FixtureRequest) -> Path:
    return GOLDEN / str(request.param)


def test_symbolic_size_kernel_arena_and_copy(folder: Path) -> None:
    session = Session(Model.load(folder / "doubling.bireme"))
    for n in (1, 100):
        x = np.arange(n * 3, dtype=np.float32).reshape(n, 3)
        np.testing.assert_array_equal(session.run({"x": x})["y"], 2 * x)


def test_weights(folder: Path) -> None:
    session = Session(Model.load(folder / "constant.bireme"))
    np.testing.assert_array_equal(
        session.run({})["y"], np.arange(30, dtype=np.float32).reshape(5, 6)
    )


def test_size_of_data_and_versions(folder: Path) -> None:
    session = Session(Model.load(folder / "first.bireme"))
    for n, factor in ((3, 2), (5, 1), (0, 1)):
        x = np.arange(n, dtype=np.float32)
        for count in range(n + 1):
            found = session.run({"x": x, "count": np.array(count)})["y"]
            np.testing.assert_array_equal(found, factor * x[:count])
