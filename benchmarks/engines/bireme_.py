"""Bireme itself, untuned."""

from __future__ import annotations

from pathlib import Path

from benchmarks.engines import Run

# What the option is called.
PRECISIONS = {"float32": "float32", "bfloat16": "bf16"}


def convert(folder: Path, precision: str) -> None:
    import numpy as np

    import bireme

    with np.load(folder / "feed.npz") as feed:
        calibration = dict(feed)
    chosen = {"precision": PRECISIONS[precision], "calibration": calibration}
    program = bireme.compile(folder / "model.onnx", **chosen if precision != "float32" else {})
    program.save(folder / f"{precision}.bireme")


def load(folder: Path, threads: int, precision: str) -> Run:
    from bireme.runtime import Model, Session

    model = Model.load(folder / f"{precision}.bireme", threads=threads)
    session = Session(model, threads=threads)
    return lambda feed: list(session.run(feed).values())
