"""Trained networks in bfloat16: on real inputs they answer what they answer in float32."""

from __future__ import annotations

import json

import cv2
import numpy as np

import bireme
from bireme.ir import Array
from tests.frontend.onnx.support import onnxruntime_run
from tests.models.support import package
from tests.models.test_packages import PADDLE, magika_features

# What `auto` promises of the inputs that it was calibrated on, and what other inputs may do.
LIMIT, OTHER = 1e-2, 5e-2


def line(text: str, width: int = 320) -> Array:
    """A line of text as the recogniser takes it: [1, 3, 48, width]."""
    picture = np.full((48, width, 3), 255, np.uint8)
    cv2.putText(picture, text, (8, 34), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (0, 0, 0), 2)
    scaled = (picture / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


def relative(found: Array, wanted: Array) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def dims_of(path: str, shape: tuple[int, ...]) -> dict[str, int]:
    """Sizes for the symbols of the only input."""
    from bireme.frontend import onnx

    (value,) = onnx.load(path).inputs
    return {str(d): n for d, n in zip(value.type.shape, shape, strict=True) if str(d) != str(n)}


def compiled(name: str, x: Array, precision: str, *calibration: Array) -> bireme.Program:
    """A network for the size of x."""
    path = str(PADDLE / f"{name}.onnx")
    return bireme.compile(
        path,
        "x86:znver4",
        dims=dims_of(path, x.shape),
        precision=precision,
        calibration=[{"x": array} for array in calibration],
    )


def test_which_way_up_a_line_is() -> None:
    name = "ch_ppocr_mobile_v2.0_cls_infer"
    upright = line("Bireme", 192)
    program = compiled(name, upright, "auto", upright)
    assert program.report is not None
    report = program.report.precision
    assert report is not None
    assert report.dtype == "bfloat16"
    assert report.reduced > len(report.decisions) // 2
    assert report.max_relative is not None
    assert report.max_relative <= LIMIT
    answers = []
    for x in (upright, np.ascontiguousarray(upright[:, :, ::-1, ::-1])):
        (found,) = program({"x": x}).values()
        (wanted,) = onnxruntime_run(str(PADDLE / f"{name}.onnx"), {"x": x}).values()
        assert relative(found, wanted) <= OTHER
        np.testing.assert_array_equal(found.argmax(axis=-1), wanted.argmax(axis=-1))
        answers.append(int(wanted.argmax()))
    assert answers == [0, 1]


def test_text_of_lines() -> None:
    name = "ch_PP-OCRv4_rec_infer"
    program = compiled(name, line("Bireme"), "bf16")
    for text in ("Bireme 2026", "two banks", "of oars 17"):
        x = line(text)
        (found,) = program({"x": x}).values()
        (wanted,) = onnxruntime_run(str(PADDLE / f"{name}.onnx"), {"x": x}).values()
        np.testing.assert_array_equal(found.argmax(axis=-1), wanted.argmax(axis=-1))


def test_magika() -> None:
    (folder,) = (package("magika") / "models").iterdir()
    config = json.loads((folder / "config.min.json").read_text())
    root = PADDLE.parents[0]
    files = [p.read_bytes() for p in sorted(root.rglob("*.py"))[:6]]
    files += [p.read_bytes() for p in sorted(root.rglob("*.yaml"))[:2]]
    rows = np.array([magika_features(content, config) for content in files], np.int32)
    path = str(folder / "model.onnx")
    program = bireme.compile(path, "x86:znver4", precision="bf16")
    (found,) = program({"bytes": rows}).values()
    (wanted,) = onnxruntime_run(path, {"bytes": rows}).values()
    assert relative(found, wanted) <= OTHER
    np.testing.assert_array_equal(found.argmax(axis=1), wanted.argmax(axis=1))
