"""Artefacts of every released format version stay readable.

The files in tests/golden/ were written once, by `artefacts.py` of their time, and are never written
again: a runtime that cannot read one has broken the promise of docs/stability.md.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bireme.runtime import Model, Session

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def test_every_file_is_tested() -> None:
    names = {path.relative_to(GOLDEN).as_posix() for path in GOLDEN.rglob("*.bireme")}
    assert names == {"v1/doubling.bireme", "v1/constant.bireme", "v1/first.bireme"}


def test_v1_symbolic_size_kernel_arena_and_copy() -> None:
    session = Session(Model.load(GOLDEN / "v1" / "doubling.bireme"))
    for n in (1, 100):
        x = np.arange(n * 3, dtype=np.float32).reshape(n, 3)
        np.testing.assert_array_equal(session.run({"x": x})["y"], 2 * x)


def test_v1_weights() -> None:
    session = Session(Model.load(GOLDEN / "v1" / "constant.bireme"))
    np.testing.assert_array_equal(
        session.run({})["y"], np.arange(30, dtype=np.float32).reshape(5, 6)
    )


def test_v1_size_of_data_and_versions() -> None:
    session = Session(Model.load(GOLDEN / "v1" / "first.bireme"))
    for n, factor in ((3, 2), (5, 1), (0, 1)):
        x = np.arange(n, dtype=np.float32)
        for count in range(n + 1):
            found = session.run({"x": x, "count": np.array(count)})["y"]
            np.testing.assert_array_equal(found, factor * x[:count])
