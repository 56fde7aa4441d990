"""Bireme itself, untuned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.engines import Run

# What the option is called.
PRECISIONS = {"float32": "float32", "bfloat16": "bf16"}


def convert(folder: Path, precision: str) -> None:
    from bireme.codegen.compiler import Options
    from bireme.codegen.records import Database

    compiled(folder, precision, options=Options(records=Database())).save(
        folder / f"{precision}.bireme"
    )


def compiled(folder: Path, precision: str, **chosen: Any) -> Any:
    """The model as a program."""
    import numpy as np

    import bireme

    with np.load(folder / "feed.npz") as feed:
        calibration = dict(feed)
    if precision != "float32":
        chosen |= {"precision": PRECISIONS[precision], "calibration": calibration}
    return bireme.compile(folder / "model.onnx", **chosen)


def load(folder: Path, threads: int, precision: str) -> Run:
    return loaded(folder / f"{precision}.bireme", threads)


def loaded(path: Path, threads: int) -> Run:
    """An artefact that can be run."""
    from bireme.runtime import Model, Session

    session = Session(Model.load(path, threads=threads), threads=threads)
    return lambda feed: list(session.run(feed).values())
