"""References that move elements and that index, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bireme.ir import Array, BiremeError
from bireme.ir.reference import run_op
from tests.ir.peer import peer

_random = np.random.default_rng(5)


def floats(*shape: int) -> Array:
    return _random.standard_normal(shape).astype(np.float32)


def longs(*values: Any) -> Array:
    return np.array(values, np.int64)


def same(found: list[Array], expected: list[Array]) -> None:
    for x, y in zip(found, expected, strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
    ("starts", "ends", "steps"),
    [((0, 1), (3, 4), (1, 2)), ((2, 4), (-9, 1), (-1, -2)), ((1, 0), (1, 5), (1, 1))],
)
def test_slice(starts: Any, ends: Any, steps: Any) -> None:
    x = floats(3, 5)
    expected = peer("Slice", [x, longs(*starts), longs(*ends), longs(0, 1), longs(*steps)])
    sizes = expected[0].shape
    same(run_op("slice", [x], {"starts": starts, "sizes": sizes, "steps": steps}), expected)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_pad(mode: str) -> None:
    x = floats(3, 4)
    before, after = (2, 0), (1, 3)
    expected = peer("Pad", [x, longs(*before, *after), np.float32(7)], mode=mode)
    operands = [x, np.float32(7)]
    same(run_op("pad", operands, {"before": before, "after": after, "mode": mode}), expected)


def test_transpose_expand_tile_concat() -> None:
    x = floats(2, 3, 4)
    same(run_op("transpose", [x], {"perm": (2, 0, 1)}), peer("Transpose", [x], perm=[2, 0, 1]))
    y = floats(3, 1)
    same(run_op("expand", [y], {"shape": (2, 3, 4)}), peer("Expand", [y, longs(2, 3, 4)]))
    same(run_op("tile", [y], {"repeats": (2, 3)}), peer("Tile", [y, longs(2, 3)]))
    same(run_op("concat", [x, x], {"axis": 1}), peer("Concat", [x, x], axis=1))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("shape", [(), (4,), (2, 0), (2, 3)])
def test_gather(axis: int, shape: Any) -> None:
    x = floats(3, 4, 5)
    indices = np.asarray(_random.integers(-3, 3, shape))
    same(run_op("gather", [x, indices], {"axis": axis}), peer("Gather", [x, indices], axis=axis))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather_elements(axis: int) -> None:
    x, indices = floats(3, 4, 5), _random.integers(-3, 3, (2, 3, 5))
    expected = peer("GatherElements", [x, indices], axis=axis)
    same(run_op("gather_elements", [x, indices], {"axis": axis}), expected)


@pytest.mark.parametrize(
    ("rows", "batch"), [((2, 2), 0), ((4, 3), 0), ((3, 2, 1), 1), ((3, 4, 1), 2), ((3, 1), 1)]
)
def test_gather_nd(rows: Any, batch: int) -> None:
    x, indices = floats(3, 4, 5), _random.integers(-3, 3, rows)
    expected = peer("GatherND", [x, indices], batch_dims=batch)
    same(run_op("gather_nd", [x, indices], {"batch_dims": batch}), expected)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
@pytest.mark.parametrize("axis", [0, 1])
def test_scatter_elements(reduction: str, axis: int) -> None:
    x, updates = floats(4, 5), floats(3, 2)
    repeated = _random.integers(-4, 4, (3, 2))
    apart = np.array([[0, -1], [2, 0], [1, 1]])
    indices = repeated if reduction != "none" else apart
    expected = peer("ScatterElements", [x, indices, updates], axis=axis, reduction=reduction)
    found = run_op(
        "scatter_elements", [x, indices, updates], {"axis": axis, "reduction": reduction}
    )
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatter_nd(reduction: str) -> None:
    x = floats(4, 5, 2)
    indices = np.array([[0, 1], [-1, 2], [3, -5]])
    updates = floats(3, 2)
    expected = peer("ScatterND", [x, indices, updates], reduction=reduction)
    found = run_op("scatter_nd", [x, indices, updates], {"reduction": reduction})
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)


def test_scatter_of_whole_tensors() -> None:
    x, updates = floats(3), floats(2, 3)
    found = run_op("scatter_nd", [x, np.zeros((2, 0), np.int64), updates], {"reduction": "add"})
    np.testing.assert_allclose(found[0], x + updates.sum(0), rtol=1e-6)


@pytest.mark.parametrize(("batch", "time"), [(0, 1), (1, 0)])
def test_reverse_sequence(batch: int, time: int) -> None:
    x, lengths = floats(4, 4, 2), longs(1, 4, 2, 3)
    attrs = {"batch_axis": batch, "time_axis": time}
    same(
        run_op("reverse_sequence", [x, lengths], attrs),
        peer("ReverseSequence", [x, lengths], **attrs),
    )


def test_reverse_sequence_of_inner_axes() -> None:
    """Axes that ONNX does not allow, by hand."""
    x = floats(2, 3, 4)
    attrs = {"batch_axis": 2, "time_axis": 1}
    (found,) = run_op("reverse_sequence", [x, longs(0, 2, 3, 9)], attrs)
    expected = x.copy()
    expected[:, :2, 1] = x[:, 1::-1, 1]
    expected[:, :, 2:] = x[:, ::-1, 2:]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("op", "operands", "attrs", "detail"),
    [
        ("gather", (floats(3), longs(1, 3)), {}, "axis 0: index 3 is outside [-3, 3)"),
        ("gather", (floats(2, 0), longs(-1)), {"axis": 1}, "axis 1: index -1 is outside [0, 0)"),
        ("gather_elements", (floats(3), longs(-4)), {"axis": 0}, "index -4 is outside [-3, 3)"),
        ("gather_nd", (floats(3, 2), longs([0, 2])), {}, "axis 1: index 2 is outside [-2, 2)"),
        ("scatter_nd", (floats(3), longs([9]), floats(1)), {}, "index 9 is outside [-3, 3)"),
    ],
)
def test_indices_out_of_range(op: str, operands: Any, attrs: Any, detail: str) -> None:
    with pytest.raises(BiremeError) as caught:
        run_op(op, operands, attrs)
    assert caught.value.code == "BM6003"
    assert detail in caught.value.detail


@pytest.mark.parametrize("block", [1, 2, 4, 8])
@pytest.mark.parametrize("channels", [1, 4, 7])
def test_channels_pack_and_unpack(block: int, channels: int) -> None:
    x = floats(2, channels, 3, 2)
    (packed,) = run_op("pack_channels", [x], {"block": block})
    for n, c, i, j in np.ndindex(2, packed.shape[1] * block, 3, 2):
        expected = x[n, c, i, j] if c < channels else 0
        assert packed[n, c // block, i, j, c % block] == expected
    same(run_op("unpack_channels", [packed], {"channels": channels}), [x])


def test_iota_and_dim_values() -> None:
    (found,) = run_op("iota", [], {"shape": (2, 3), "axis": 1, "dtype": "int32"})
    assert found.dtype == np.int32
    assert found.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert run_op("iota", [], {"shape": (2, 2), "dtype": "int8"})[0].tolist() == [[0, 1], [2, 3]]
    assert run_op("dim_values", [], {"values": (4, 7)})[0].tolist() == [4, 7]
