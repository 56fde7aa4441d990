"""ONNX Runtime, CPU execution provider."""

from __future__ import annotations

from pathlib import Path

from benchmarks.engines import Run


def convert(folder: Path, precision: str) -> None:
    """It reads ONNX."""


def load(folder: Path, threads: int, precision: str) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / "model.onnx", options)
    return lambda feed: list(session.run(None, feed))
