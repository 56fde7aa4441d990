"""MNN, CPU backend; its Normal precision is float32 throughout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.engines import Feed, Run


def convert(folder: Path, precision: str) -> None:
    # Not its wrapper MNN.tools.mnnconvert: that installs packages, with whichever pip is found
    # first, and reports to a server what it converted.
    import _tools

    arguments = ["mnnconvert", "-f", "ONNX", "--modelFile", str(folder / "model.onnx")]
    _tools.mnnconvert([*arguments, "--MNNModel", str(folder / "model.mnn"), "--bizCode", "bireme"])
    if not (folder / "model.mnn").exists():
        raise RuntimeError("mnnconvert wrote no model")


def load(folder: Path, threads: int, precision: str) -> Run:
    """A session, which is the fastest; models with loops, as it makes of recurrences, need a
    module.
    """
    outputs = (folder / "outputs.txt").read_text().split()
    return session(folder, threads, outputs) or module(folder, threads, outputs)


def session(folder: Path, threads: int, names: list[str]) -> Run | None:
    """Runs the model in a session; None if it cannot tell sizes before it runs."""
    import MNN
    import numpy as np

    kinds = {
        np.dtype(np.float32): MNN.Halide_Type_Float,
        np.dtype(np.int32): MNN.Halide_Type_Int,
    }
    order = MNN.Tensor_DimensionType_Caffe
    net = MNN.Interpreter(str(folder / "model.mnn"))
    opened = net.createSession({"backend": "CPU", "numThread": threads, "precision": "normal"})
    inputs = net.getSessionInputAll(opened)
    outputs = [net.getSessionOutput(opened, name) for name in names]
    if not all(np.prod(output.getShape()) for output in outputs):
        return None
    hosts = [MNN.Tensor(output, order) for output in outputs]

    def run(feed: Feed) -> list[object]:
        for name, place in inputs.items():
            value = narrow(feed[name])
            place.copyFrom(MNN.Tensor(value.shape, kinds[value.dtype], value, order))
        net.runSession(opened)
        for output, host in zip(outputs, hosts, strict=True):
            output.copyToHostTensor(host)
        return [host.getNumpyData() for host in hosts]

    return run


def module(folder: Path, threads: int, names: list[str]) -> Run:
    """Runs the model as a module."""
    import numpy as np
    from MNN import expr, nn

    kinds = {np.dtype(np.float32): expr.float, np.dtype(np.int32): expr.int}
    with np.load(folder / "feed.npz") as feed:
        inputs = {k: (list(v.shape), kinds[narrow(v).dtype]) for k, v in feed.items()}
    net = nn.load_module_from_file(
        str(folder / "model.mnn"),
        list(inputs),
        names,
        precision_mode=expr.PrecisionMode.Normal,
        thread_num=threads,
    )
    places = [
        expr.placeholder(shape, expr.data_format.NCHW, kind) for shape, kind in inputs.values()
    ]

    def run(feed: Feed) -> list[object]:
        for place, name in zip(places, inputs, strict=True):
            place.write(narrow(feed[name]))
        return [found.read() for found in net.onForward(places)]

    return run


def narrow(array: Any) -> Any:
    """Its integers have 32 bits."""
    return array.astype("int32") if array.dtype == "int64" else array
