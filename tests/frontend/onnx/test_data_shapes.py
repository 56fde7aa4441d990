"""Shapes, places and axes that are data when the model runs: imported, compiled, run, compared with
ONNX Runtime; and what is said of values that do not fit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from bireme.frontend.onnx import load
from bireme.ir import BiremeError
from bireme.runtime import RuntimeFault
from tests.frontend.onnx.support import model, op_names, random, run, shape_of
from tests.frontend.onnx.test_data_sized import Feed, agrees, compiled


def numbers(values: Sequence[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.array(values, np.int64)


def with_shape(shape: Sequence[int], *size: int) -> Feed:
    return {"x": random(*size), "s": numbers(shape)}


# --- reshape --------------------------------------------------------------------------------------

RESHAPE = model(
    "g (float[n, 6] x, int64[3] s) => (float[a, b, c] y) { r = Reshape(x, s) y = Exp(r) }"
)


def test_reshape() -> None:
    shapes = [(2, 2, 3), (-1, 3, 1), (1, 1, 12), (0, 2, 3), (0, 0, -1), (4, -1, 0)]
    agrees(RESHAPE, [with_shape(s, 2, 6) for s in shapes[:5]] + [with_shape((5, 3, 2), 5, 6)])


@pytest.mark.parametrize(
    ("shape", "code", "words"),
    [
        ((2, 2, 2), "BM5010", "two sizes that must be equal are 8 and 12"),
        ((-1, -1, 3), "BM5010", "must be equal"),
        ((-2, 2, 3), "BM5019", "is -2, it must lie in 0 to 12"),
        ((1, 13, 1), "BM5019", "is 13, it must lie in 0 to 12"),
        ((1, 2, 0), "BM5019", "is -2, it must lie in 0 to 12"),
        ((1 << 40, 1 << 40, 2), "BM5019", "it must lie in 0 to 12"),
    ],
)
def test_reshapes_that_do_not_fit(shape: tuple[int, ...], code: str, words: str) -> None:
    session = compiled(RESHAPE, threads=1)
    with pytest.raises(RuntimeFault) as caught:
        session.run(with_shape(shape, 2, 6))
    assert caught.value.code == code
    assert words in str(caught.value)
    assert "Reshape_0" in str(caught.value)
    feed = with_shape((3, -1, 2), 2, 6)
    np.testing.assert_allclose(
        session.run(feed)["y"], np.exp(feed["x"]).reshape(3, 2, 2), rtol=1e-5
    )


def test_one_size_that_only_fits_is_known() -> None:
    """What the data says is checked, and nothing depends on it."""
    source = model("""g (float[n, 6] x, int64[1] s) => (float[a, b] y) {
        three = Constant<value_ints = [3]>()
        shape = Concat<axis = 0>(s, three)
        y = Reshape(x, shape) }""")
    assert shape_of(load(source)) == "2*n, 3"
    assert "bind" in op_names(load(source))
    agrees(source, [with_shape([2 * n], n, 6) for n in (1, 5)] + [with_shape([-1], 4, 6)])
    with pytest.raises(RuntimeFault, match=r"BM5010.* 15 and 12.*Reshape_2"):
        compiled(source).run(with_shape([5], 2, 6))


def test_a_shape_with_parts_that_are_known() -> None:
    source = model("""g (float[n, 4, 6] x, int64 heads) => (float[a, b, c, d] y) {
        first = Shape<start = 0, end = 1>(x)
        one = Constant<value_ints = [1]>()
        h = Reshape(heads, one)
        free = Constant<value_ints = [-1]>()
        last = Shape<start = 1, end = 2>(x)
        shape = Concat<axis = 0>(first, h, free, last)
        y = Reshape(x, shape) }""")
    found = shape_of(load(source))
    assert found.startswith("n, ")
    assert found.endswith(", 4")
    agrees(
        source, [{"x": random(n, 4, 6), "heads": np.array(h)} for n, h in ((1, 1), (3, 2), (2, 6))]
    )


def test_reshape_of_nothing() -> None:
    source = model("""g (float[n, 0] x, int64[2] s) => (float[a, b] y) {
        y = Reshape<allowzero = 1>(x, s) }""")
    for shape in ((0, 3), (3, 0), (0, 0)):
        found = run(source, with_shape(shape, 3, 0))["y"]
        assert found.shape == shape
        assert compiled(source).run(with_shape(shape, 3, 0))["y"].shape == shape


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_reshape(draw: st.DataObject) -> None:
    """As onnx's reference does it, or an error where that has none."""
    sizes = draw.draw(st.lists(st.integers(1, 4), min_size=2, max_size=2))
    shape = draw.draw(st.lists(st.integers(-1, 12), min_size=3, max_size=3))
    feed = with_shape(shape, sizes[0], 6 * sizes[1])
    source = model("g (float[n, m] x, int64[3] s) => (float[a, b, c] y) { y = Reshape(x, s) }")
    try:
        (wanted,) = ReferenceEvaluator(source).run(None, dict(feed))
    except (ValueError, IndexError):
        with pytest.raises(BiremeError, match="BM6003"):
            run(source, feed)
        return
    np.testing.assert_array_equal(run(source, feed)["y"], wanted)


# --- sizes without a bound of their own -----------------------------------------------------------


def test_expand() -> None:
    source = model("g (float[n, 1, 3] x, int64[3] s) => (float[a, b, c] y) { y = Expand(x, s) }")
    with pytest.raises(BiremeError) as caught:
        load(source)
    assert caught.value.code == "BM1007"
    assert "--dim Expand_0=0..SIZE" in str(caught.value)
    assert "--dim Expand_0[1]=0..SIZE" in str(caught.value)
    feeds = [with_shape(s, 2, 1, 3) for s in ((2, 4, 3), (1, 1, 1), (2, 0, 3), (1, 9, 3))]
    agrees(source, feeds, dims={"Expand_0[1]": range(10)})
    session = compiled(source, dims={"Expand_0": range(10)})
    with pytest.raises(RuntimeFault, match=r"BM5019.*Expand_0.*is 10, it must lie in 0 to 9"):
        session.run(with_shape((2, 10, 3), 2, 1, 3))
    with pytest.raises(RuntimeFault, match="Expand_0"):
        session.run(with_shape((2, 4, 5), 2, 1, 3))


def test_a_declared_shape_is_a_bound() -> None:
    source = model("g (float x, int64[2] s) => (float[3, 5] y) { y = Expand(x, s) }")
    assert load(source).data_symbols == {"Expand_0": 3, "Expand_0_2": 5}
    agrees(source, [{"x": random(), "s": numbers(s)} for s in ((3, 5), (1, 2), (0, 5))])


FILLERS = {
    "ConstantOfShape": "int64[2] s) => (float[a, b] y) { y = ConstantOfShape(s) }",
    "Tile": "float[n, 3] x, int64[2] s) => (float[a, b] y) { y = Tile(x, s) }",
}


@pytest.mark.parametrize("op", FILLERS)
def test_fillers(op: str) -> None:
    source = model(f"g ({FILLERS[op]}")
    x = {"x": random(2, 3)} if op == "Tile" else {}
    feeds = [{**x, "s": numbers(s)} for s in ((2, 3), (1, 1), (0, 2), (5, 4))]
    agrees(source, feeds, dims={f"{op}_0": range(13)})
    session = compiled(source, dims={f"{op}_0": range(13)})
    for shape in ((-1, 2), (14, 1)):
        with pytest.raises(RuntimeFault, match=rf"BM5019.*{op}_0.*is {shape[0]}, it must lie"):
            session.run({**x, "s": numbers(shape)})


def test_one_hot() -> None:
    source = model("""g (int64[n] x, int64 d, float[2] v) => (float[n, a] y) {
        y = OneHot(x, d, v) }""")
    values = np.array([2, 5], np.float32)
    feeds = [{"x": numbers([0, 2, -1, 7]), "d": np.array(d), "v": values} for d in (3, 1, 8)]
    agrees(source, feeds, dims={"OneHot_0": range(9)})


# --- places ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", ["0, 1", "-1, 0"])
def test_slice_with_steps(axes: str) -> None:
    source = model(f"""g (float[n, m] x, int64[2] f, int64[2] t, int64[2] by) => (float[a, b] y) {{
        axes = Constant<value_ints = [{axes}]>()
        y = Slice(x, f, t, axes, by) }}""")
    rows = [([0, 1], [9, 2], [1, 1]), ([-1, 5], [-9, 0], [-1, -2]), ([1, 0], [1, 9], [3, 7]),
            ([2, -3], [-1, 4], [-1, 2])]  # fmt: skip
    agrees(source, [
        {"x": x, "f": numbers(f), "t": numbers(t), "by": numbers(by)}
        for x in (random(5, 6), random(1, 1), random(8, 3)) for f, t, by in rows
    ])  # fmt: skip
    with pytest.raises(RuntimeFault, match=r"BM5019.*Slice_1"):
        compiled(source).run({"x": random(2, 2), "f": numbers([0, 0]), "t": numbers([1, 1]),
                              "by": numbers([1, 0])})  # fmt: skip


def test_slice_along_data() -> None:
    source = model("""g (float[n, m, 2] x, int64[2] f, int64[2] t, int64[2] along)
            => (float[a, b, c] y) { y = Slice(x, f, t, along) }""")
    rows = [([0, 1], [9, 2], [0, 1]), ([-2, 1], [9, 2], [-3, 2]), ([1, 0], [1, 9], [2, 1])]
    agrees(source, [
        {"x": x, "f": numbers(f), "t": numbers(t), "along": numbers(along)}
        for x in (random(5, 6, 2), random(1, 1, 2)) for f, t, along in rows
    ])  # fmt: skip


def test_split() -> None:
    source = model("""g (float[2, n] x, int64[3] s)
            => (float[2, a] p, float[2, b] q, float[2, n] y) {
        p, q, r = Split<axis = 1>(x, s)
        y = Concat<axis = 1>(r, q, p) }""")
    agrees(source, [with_shape(s, 2, sum(s)) for s in ((1, 2, 3), (0, 4, 1), (5, 0, 0))])
    session = compiled(source)
    with pytest.raises(RuntimeFault, match=r"BM5010.*are 6 and 7.*Split_0"):
        session.run(with_shape((1, 2, 3), 2, 7))
    with pytest.raises(RuntimeFault, match=r"BM5019.*Split_0.*is -1, it must lie in 0 to 7"):
        session.run(with_shape((1, -1, 7), 2, 7))


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
def test_pad(mode: str) -> None:
    source = model(f"""g (float[n, 4] x, int64[4] s) => (float[a, b] y) {{
        y = Pad<mode = "{mode}">(x, s) }}""")
    pads = [(0, 1, 2, 3), (0, 0, 0, 0), (1, 2, 0, 1), (2, 3, 1, 0)]
    pads += [(-1, 0, 2, -2), (0, -3, -1, 0)] if mode == "constant" else []
    agrees(source, [with_shape(p, 3, 4) for p in pads], dims={"Pad_0": range(12)})


def test_pad_along_data() -> None:
    source = model("""g (float[n, 4] x, int64[2] s, float v, int64[1] along) => (float[a, b] y) {
        y = Pad(x, s, v, along) }""")
    agrees(source, [
        {**with_shape(s, 3, 4), "v": np.array(7, np.float32), "along": numbers([a])}
        for s in ((1, 2), (0, 0), (-1, 3)) for a in (0, 1, -1, -2)
    ], dims={"Pad_0": range(12)})  # fmt: skip


@pytest.mark.parametrize("axis", [0, 1])
def test_center_crop_pad(axis: int) -> None:
    source = model(f"""g (float[n, 5] x, int64[1] s) => (float[a, b] y) {{
        y = CenterCropPad<axes = [{axis}]>(x, s) }}""")
    for feed in [with_shape([s], 4, 5) for s in (1, 2, 4, 5, 7, 8)]:
        (wanted,) = ReferenceEvaluator(source).run(None, dict(feed))
        found = run(source, feed, dims={"CenterCropPad_0": range(9)})["y"]
        np.testing.assert_array_equal(found, wanted)


# --- axes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMax", "ReduceMean", "ReduceL2"])
def test_reductions(op: str, keep: int) -> None:
    shape = "a, b, c" if keep else "a, b"
    source = model(f"""g (float[n, 3, m] x, int64[1] s) => (float[{shape}] y) {{
        y = {op}<keepdims = {keep}>(x, s) }}""")
    agrees(source, [with_shape([a], *size) for a in (0, 1, -1) for size in ((4, 3, 5), (1, 3, 1))])
    with pytest.raises(RuntimeFault, match=rf"BM5010.*{op}_0"):
        compiled(source).run(with_shape([3], 4, 3, 5))


def test_cumulative_sums() -> None:
    source = model("""g (float[n, 3, m] x, int64 s) => (float[n, 3, m] y) {
        y = CumSum<reverse = 1>(x, s) }""")
    agrees(source, [{"x": random(4, 3, 5), "s": np.array(a)} for a in (0, 1, 2, -2)])


def test_squeeze_and_unsqueeze() -> None:
    source = model("""g (float[n, 1, 3] x, int64[1] s, int64[2] t)
            => (float[n, 3] y, float[a, b, c, d, e] z) {
        y = Squeeze(x, s)
        z = Unsqueeze(x, t) }""")
    agrees(source, [
        {"x": random(n, 1, 3), "s": numbers([s]), "t": numbers(t)}
        for n in (1, 4) for s, t in ((1, (0, 1)), (-2, (-1, 2)), (1, (4, 0)))
    ])  # fmt: skip
    session = compiled(source)
    feed = {"x": random(4, 1, 3), "s": numbers([1]), "t": numbers([0, 1])}
    with pytest.raises(RuntimeFault, match=r"BM5010.*Squeeze_0"):
        session.run({**feed, "s": numbers([2])})
    with pytest.raises(RuntimeFault, match=r"Unsqueeze_1"):
        session.run({**feed, "t": numbers([1, 1])})


# --- memory ---------------------------------------------------------------------------------------


def test_a_reshape_reserves_no_more_than_its_operand() -> None:
    """Each of three sizes may be the whole, but memory is for the whole once."""
    peaks = []
    for shape in ((2, 2, 3), (1, 1, 12), (12, 1, 1)):
        session = compiled(RESHAPE, threads=1)
        session.run(with_shape(shape, 2, 6))
        peaks.append(session.peak_bytes)
    assert len(set(peaks)) == 1
    assert peaks[0] < 1 << 20


# --- resize ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("coordinate", ["half_pixel", "align_corners", "asymmetric"])
def test_resize_by_scales(mode: str, coordinate: str) -> None:
    """The scale of coordinates is the one given, not that of the rounded sizes."""
    source = model(f"""g (float[1, 2, h, w] x, float[2] s) => (float[1, 2, a, b] y) {{
        y = Resize<mode = "{mode}", coordinate_transformation_mode = "{coordinate}",
                   axes = [2, 3]>(x, , s) }}""")
    feeds = [
        {"x": random(1, 2, 5, 4), "s": np.array(s, np.float32)}
        for s in ((2, 2), (0.7, 1.3), (1, 0.5), (1.5, 3))
    ]
    session = compiled(source, dims={"Resize_0": range(17)})
    for feed in feeds:
        (wanted,) = ReferenceEvaluator(source).run(None, dict(feed))
        for found in (run(source, feed, dims={"Resize_0": range(17)}), session.run(feed)):
            np.testing.assert_allclose(found["y"], wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(RuntimeFault, match=r"BM5019.*is 20, it must lie in 0 to 16"):
        session.run({**feeds[0], "s": np.array([4, 1], np.float32)})


@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
def test_resize_to_sizes(policy: str) -> None:
    source = model(f"""g (float[1, 2, h, w] x, int64[2] s) => (float[1, 2, a, b] y) {{
        y = Resize<mode = "linear", axes = [2, 3], keep_aspect_ratio_policy = "{policy}">
            (x, , , s) }}""")
    session = compiled(source, dims={"Resize_0": range(17)})
    for sizes in ((5, 4), (9, 12), (3, 2), (1, 8)):
        feed = {"x": random(1, 2, 5, 4), "s": numbers(sizes)}
        (wanted,) = ReferenceEvaluator(source).run(None, dict(feed))
        for found in (run(source, feed, dims={"Resize_0": range(17)}), session.run(feed)):
            np.testing.assert_allclose(found["y"], wanted, rtol=1e-4, atol=1e-5)


# --- where bounds come from -----------------------------------------------------------------------


def test_a_bound_of_a_node_is_one_of_its_parts() -> None:
    """HannWindow is a function, in whose body a range has the size."""
    source = model("g (int64 n) => (float[k] y) { y = HannWindow(n) }")
    with pytest.raises(BiremeError, match=r"--dim HannWindow_0/Range_\d+=0..LENGTH"):
        load(source)
    agrees(source, [{"n": np.array(n)} for n in (1, 2, 20)], dims={"HannWindow_0": range(21)})
    declared = model("g (int64 n) => (float[20] y) { y = HannWindow(n) }")
    assert list(load(declared).data_symbols.values()) == [20]
