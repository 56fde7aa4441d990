"""Resizing of integers: 8-bit pictures and quantised feature maps."""

from __future__ import annotations

import numpy as np
import pytest

from tests.frontend.onnx.support import model, onnxruntime_run, run


@pytest.mark.parametrize("mode", ["linear", "nearest"])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_resize_of_integers(mode: str, dtype: str) -> None:
    proto = model(
        f"""g ({dtype}[1, 2, 5, 7] x) => ({dtype}[1, 2, A, B] y) <float[4] by = {{1, 1, 2, 2}}> {{
            y = Resize<mode = "{mode}", coordinate_transformation_mode = "asymmetric">(x, , by)
        }}""",
        opset=13,
    )
    x = np.random.default_rng(0).integers(0, 100, (1, 2, 5, 7)).astype(dtype)
    np.testing.assert_array_equal(run(proto, {"x": x})["y"], onnxruntime_run(proto, {"x": x})["y"])
