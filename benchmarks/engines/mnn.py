"""MNN, CPU backend; its Normal precision is float32 throughout."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.engines import Feed, Run


def convert(folder: Path, precision: str) -> None:
    from MNN.tools import mnnconvert

    sys.argv = ["mnnconvert", "-f", "ONNX", "--modelFile", str(folder / "model.onnx")]
    sys.argv += ["--MNNModel", str(folder / "model.mnn"), "--bizCode", "bireme"]
    mnnconvert.main()
    if not (folder / "model.mnn").exists():
        raise RuntimeError("mnnconvert wrote no model")


def load(folder: Path, threads: int, precision: str) -> Run:
    import numpy as np
    from MNN import expr, nn

    kinds = {np.dtype(np.float32): expr.float, np.dtype(np.int32): expr.int}
    outputs = (folder / "outputs.txt").read_text().split()
    with np.load(folder / "feed.npz") as feed:
        inputs = {k: (list(v.shape), kinds[narrow(v).dtype]) for k, v in feed.items()}
    module = nn.load_module_from_file(
        str(folder / "model.mnn"),
        list(inputs),
        outputs,
        precision_mode=expr.PrecisionMode.Normal,
        thread_num=threads,
    )
    places = [
        expr.placeholder(shape, expr.data_format.NCHW, kind) for shape, kind in inputs.values()
    ]

    def run(feed: Feed) -> list[object]:
        for place, name in zip(places, inputs, strict=True):
            place.write(narrow(feed[name]))
        return [found.read() for found in module.onForward(places)]

    return run


def narrow(array: object) -> object:
    """Its integers have 32 bits."""
    import numpy as np

    value = np.asarray(array)
    return value.astype(np.int32) if value.dtype == np.int64 else value
