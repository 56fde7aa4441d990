"""Operators whose result has a size that the data decides: imported, compiled, run, and compared
with ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

import bireme as bm
from bireme.codegen.compiler import Options, compile_graph
from bireme.frontend.onnx import load
from bireme.ir import Array, BiremeError
from bireme.runtime import Model, RuntimeFault, Session
from bireme.targets.registry import find
from tests.frontend.onnx.support import model, onnxruntime_run, random, run

Feed = Mapping[str, Array]


def compiled(source: ModelProto, threads: int = 2, **options: object) -> Session:
    graph = load(source, **options)  # type: ignore[arg-type]
    artefact, _ = compile_graph(graph, find("x86"), Options(verify=True, jobs=0))
    return Session(Model.load(artefact), threads=threads)


def agrees(source: ModelProto, feeds: Sequence[Feed], **options: object) -> None:
    """The reference and the compiled model give what ONNX Runtime gives, for one feed after the
    other.
    """
    session = compiled(source, **options)
    for feed in feeds:
        wanted = onnxruntime_run(source, feed)
        reference, found = run(source, feed, **options), session.run(feed)
        for name, array in wanted.items():
            if not array.size:  # ONNX Runtime does not know the shape of rows that no step made
                array = array.reshape(found[name].shape)
            assert found[name].shape == reference[name].shape == array.shape, name
            np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
            np.testing.assert_allclose(reference[name], array, rtol=1e-5, atol=1e-6, err_msg=name)


# One, odd and large sizes; none and all of the elements taken.
VECTORS = [random(7), random(1), -np.abs(random(9)), np.abs(random(5)), random(1000), random(33)]
MATRICES = [random(*shape) for shape in ((3, 5), (1, 1), (17, 9))]
MATRICES += [np.zeros((4, 3), np.float32), np.ones((2, 7), np.float32)]


def ints(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(-2, 3, shape)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_non_zero(rank: int) -> None:
    names = ", ".join(f"n{i}" for i in range(rank))
    source = model(f"g (int64[{names}] x) => (int64[r, k] y) {{ y = NonZero(x) }}")
    shapes = [(5, 3, 2)[:rank], (1, 1, 1)[:rank], (40, 3, 7)[:rank]]
    feeds = [{"x": ints(*s)} for s in shapes]
    agrees(source, [*feeds, {"x": np.zeros((4, 2, 3)[:rank], np.int64)}])


@pytest.mark.parametrize("dtype", ["bool", "float16", "uint8", "int32", "double"])
def test_non_zero_of_other_types(dtype: str) -> None:
    source = model(f"g ({dtype}[n, m] x) => (int64[2, k] y) {{ y = NonZero(x) }}")
    session = compiled(source)
    name = {"double": "float64"}.get(dtype, dtype)
    x = np.maximum(ints(9, 5), 0).astype(name)
    np.testing.assert_array_equal(session.run({"x": x})["y"], np.stack(np.nonzero(x)))


def test_non_zero_of_a_number() -> None:
    source = model("g (float x) => (int64[1, k] y) { y = NonZero(x) }")
    agrees(source, [{"x": np.array(v, np.float32)} for v in (2, 0)])


def test_what_follows_uses_the_size() -> None:
    source = model("""g (float[n, m] x) => (float[k] y, float s, int64[1] size, float[a, b] z) {
        zero = Constant<value_float = 0.0>()
        hit = Greater(x, zero)
        places = NonZero(hit)
        rows = Transpose<perm = [1, 0]>(places)
        y = GatherND(x, rows)
        s = ReduceSum<keepdims = 0>(y)
        shape = Shape(places)
        one = Constant<value_ints = [1]>()
        size = Gather(shape, one)
        tall = Constant<value_ints = [-1, 1]>()
        column = Reshape(y, tall)
        twice = Concat<axis = 1>(column, column)
        z = Relu(twice)
    }""")
    agrees(source, [{"x": x} for x in MATRICES])


@pytest.mark.parametrize("axis", ["", "<axis = 0>", "<axis = 1>", "<axis = -1>"])
def test_compress(axis: str) -> None:
    source = model(f"""g (float[n, m] x, bool[c] condition) => (float y) {{
        y = Compress{axis}(x, condition) }}""")
    source.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * (2 if axis else 1))
    )
    feeds = []
    for x in MATRICES:
        length = x.size if not axis else x.shape[0 if "0" in axis else 1]
        for condition in (ints(length, seed=1) > 0, np.zeros(length, bool), np.ones(length, bool)):
            feeds.append({"x": x, "condition": condition[: max(1, length - 1)]})
    agrees(source, feeds)


@pytest.mark.parametrize("ordered", [0, 1])
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("dtype", [TensorProto.FLOAT, TensorProto.INT64])
def test_unique(ordered: int, axis: int | None, dtype: int) -> None:
    options = {"sorted": ordered, **({} if axis is None else {"axis": axis})}
    names = ["y", "first", "inverse", "counts"]
    rank = 1 if axis is None else 2
    source = helper.make_model(
        helper.make_graph(
            [helper.make_node("Unique", ["x"], names, **options)],
            "g",
            [helper.make_tensor_value_info("x", dtype, ["n", "m"])],
            [
                helper.make_tensor_value_info("y", dtype, [None] * rank),
                *(helper.make_tensor_value_info(n, TensorProto.INT64, [None]) for n in names[1:]),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 21)],
        ir_version=10,
    )
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    shapes = ((6, 4), (1, 1), (33, 2), (2, 33), (1, 50))
    agrees(source, [{"x": ints(*shape).astype(kind)} for shape in shapes])


NMS = """g (float[b, n, 4] boxes, float[b, c, n] scores, int64[1] most, float[1] iou,
           float[1] least) => (int64[k, 3] y) {
    y = NonMaxSuppression<center_point_box = CENTER>(boxes, scores, most, iou, least) }"""


def boxes(batch: int, classes: int, count: int, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        "boxes": rng.random((batch, count, 4), np.float32),
        "scores": rng.random((batch, classes, count), np.float32).round(2),
    }


@pytest.mark.parametrize("center", ["0", "1"])
def test_non_max_suppression(center: str) -> None:
    source = model(NMS.replace("CENTER", center))
    feeds = []
    for number, (batch, classes, count) in enumerate(
        ((1, 1, 6), (2, 3, 37), (1, 2, 1), (3, 1, 100))
    ):
        for most, iou, least in ((10, 0.5, 0.3), (1, 0.1, 0.0), (1000, 0.9, 0.99), (0, 0.5, 0.5)):
            limits = {
                "most": np.array([most]),
                "iou": np.array([iou], np.float32),
                "least": np.array([least], np.float32),
            }
            feeds.append({**boxes(batch, classes, count, number), **limits})
    agrees(source, feeds)


def test_non_max_suppression_without_limits() -> None:
    source = model("""g (float[b, n, 4] boxes, float[b, c, n] scores) => (int64[k, 3] y) {
        y = NonMaxSuppression(boxes, scores) }""")
    np.testing.assert_array_equal(run(source, boxes(1, 1, 5))["y"], np.zeros((0, 3)))
    some = model("""g (float[b, n, 4] boxes, float[b, c, n] scores) => (int64[k, 3] y) {
        most = Constant<value_int = 4>()
        y = NonMaxSuppression(boxes, scores, most) }""")
    agrees(some, [boxes(2, 2, 9), boxes(1, 1, 2), boxes(1, 3, 40)])


def test_top_k_of_data() -> None:
    source = model("""g (float[n, m] x, int64[1] k) => (float[n, j] y, int64[n, j] places) {
        y, places = TopK(x, k) }""")
    agrees(source, [{"x": x, "k": np.array([k])} for x in MATRICES for k in (0, 1, x.shape[1])])
    with pytest.raises(RuntimeFault, match="BM5019"):
        compiled(source).run({"x": MATRICES[0], "k": np.array([99])})


@pytest.mark.parametrize("steps", [(1, 1), (2, 1), (-1, 3), (-2, -1)])
def test_slice_of_data(steps: tuple[int, int]) -> None:
    source = model(f"""g (float[n, m] x, int64[2] starts, int64[2] ends) => (float[a, b] y) {{
        axes = Constant<value_ints = [0, 1]>()
        steps = Constant<value_ints = [{steps[0]}, {steps[1]}]>()
        y = Slice(x, starts, ends, axes, steps) }}""")
    far = np.iinfo(np.int64)
    # ONNX Runtime goes on to the start where a backward slice ends at the largest number.
    last = far.max if min(steps) > 0 else far.min
    ends = [(0, 3), (1, -1), (-2, last), (far.min, 2), (5, 0), (-1, -4)]
    feeds = [
        {"x": x, "starts": np.array([a, c]), "ends": np.array([b, d])}
        for x in MATRICES
        for (a, b), (c, d) in zip(ends, ends[::-1], strict=True)
    ]
    agrees(source, feeds)


def test_the_first_of_data() -> None:
    source = model("""g (float[n, m] x, int64[1] k) => (float[j, m] y) {
        zero = Constant<value_ints = [0]>()
        y = Slice(x, zero, k, zero) }""")
    agrees(source, [{"x": x, "k": np.array([k])} for x in MATRICES for k in (0, 2, -1, 100)])


def loop(limit: str, setup: str = "") -> ModelProto:
    """Doubles x until its greatest element is above `most`; a row for each step."""
    return model(f"""g ({limit}bool start, float[n] x, float most)
            => (float[n] last, float[k, n] all) {{
        {setup}
        last, all = Loop (limit, start, x) <body = b (int64 i, bool c, float[n] v)
                => (bool go, float[n] w, float[n] row) {{
            two = Constant<value_float = 2.0>()
            w = Mul(v, two)
            row = Neg(w)
            greatest = ReduceMax<keepdims = 0>(w)
            go = Less(greatest, most)
        }}> }}""")


def loop_feed(start: bool, size: int, most: float) -> dict[str, Array]:
    x = np.abs(random(size)) + 1
    return {"start": np.array(start), "x": x, "most": np.array(most, np.float32)}


def test_rows_of_a_loop_that_data_ends() -> None:
    source = loop("", "limit = Constant<value_int = 9>()")
    sizes = ((3, 0), (3, 20), (1, 1e9), (7, 100))
    agrees(source, [loop_feed(start, n, most) for start in (True, False) for n, most in sizes])


def test_rows_of_a_loop_without_a_limit_of_its_own() -> None:
    source = loop("", "limit = Constant<value_int = 9223372036854775807>()")
    agrees(source, [loop_feed(True, 3, 20), loop_feed(False, 3, 0)], dims={"Loop_1": range(11)})


def test_a_loop_needs_a_most() -> None:
    source = loop("int64 limit, ")
    with pytest.raises(BiremeError) as caught:
        load(source)
    assert caught.value.code == "BM1007"
    assert "--dim Loop_0=0..STEPS" in str(caught.value)
    feeds = [{"limit": np.array(limit), **loop_feed(True, 3, 1000)} for limit in (0, 1, 5, 100)]
    agrees(source, feeds, dims={"Loop_0": range(11)})
    short = compiled(source, dims={"Loop_0": range(5)})
    with pytest.raises(RuntimeFault, match=r"BM5019.*it must lie in 0 to 4"):
        short.run(feeds[-1])


def test_branches_with_sizes_of_their_own() -> None:
    """The sizes are 0, one from inside of a branch, one of the input; and in two axes."""
    source = model("""g (bool c, float[n, m] x) => (float[k] y, float[a, b] z, float[p, m] w) {
        y, z, w = If (c) <
            then_branch = t () => (float[j] u, float[e, f] v, float[o, m] q) {
                zero = Constant<value_float = 0.0>()
                hit = Greater(x, zero)
                places = NonZero(hit)
                rows = Transpose<perm = [1, 0]>(places)
                u = GatherND(x, rows)
                v = Identity(x)
                q = Neg(x) },
            else_branch = f () => (float[i] s, float[g, h] t, float[l, m] r) {
                none = Constant<value_ints = [0]>()
                s = ConstantOfShape(none)
                t = Constant<value = float[2, 1] {1.0, 2.0}>()
                one = Constant<value_ints = [1]>()
                r = Slice(x, none, one, none) }> }""")
    agrees(source, [{"c": np.array(c), "x": x} for x in MATRICES for c in (True, False)])


def test_a_size_from_inside_a_loop_is_refused() -> None:
    source = model("""g (float[n] x) => (int64[k, 1, j] y) {
        limit = Constant<value_int = 100>()
        y = Loop (limit, , ) <body = b (int64 i, bool c) => (bool go, int64[1, j] places) {
            go = Identity(c)
            index = Cast<to = 1>(i)
            above = Sub(x, index)
            zero = Constant<value_float = 0.0>()
            hit = Greater(above, zero)
            places = NonZero(hit)
        }> }""")
    with pytest.raises(BiremeError) as caught:
        load(source)
    assert "inside of a branch or a loop's body" in str(caught.value)


def test_a_size_inside_of_a_branch_stays_there() -> None:
    source = model("""g (bool c, float[n] x) => (float y) {
        y = If (c) <
            then_branch = a () => (float u) {
                p = NonZero(x)
                s = Shape(p)
                last = Constant<value_ints = [1]>()
                count = Gather(s, last)
                f = Cast<to = 1>(count)
                u = ReduceSum<keepdims = 0>(f) },
            else_branch = b () => (float v) { v = ReduceSum<keepdims = 0>(x) }> }""")
    agrees(source, [{"c": np.array(c), "x": x} for c in (True, False) for x in VECTORS])


@pytest.mark.parametrize("dtype", ["int64", "int32", "float"])
def test_range_of_data(dtype: str) -> None:
    source = model(f"""g ({dtype} start, {dtype} limit, {dtype} delta) => ({dtype}[n] y) {{
        y = Range(start, limit, delta) }}""")
    with pytest.raises(BiremeError) as caught:
        load(source)
    assert "--dim Range_0=0..LENGTH" in str(caught.value)
    kind = {"float": np.float32}.get(dtype, dtype)
    ends = ((0, 5, 1), (2, -7, -2), (3, 3, 1), (5, 0, 1), (-4, 30, 9), (0, 11, 1))
    feeds = [
        dict(zip(("start", "limit", "delta"), (np.array(v, kind) for v in row), strict=True))
        for row in ends
    ]
    agrees(source, feeds, dims={"Range_0": range(12)})
    with pytest.raises(RuntimeFault, match="BM5019"):
        compiled(source, dims={"Range_0": range(11)}).run(feeds[-1])


DETECTION = """g (float[n, 4] boxes, float[n] scores, float threshold)
        => (float[d, 4] kept, float[d] confidence, int64[d] place) {
    hit = Greater(scores, threshold)
    found = NonZero(hit)
    zero = Constant<value_ints = [0]>()
    one = Constant<value_ints = [1]>()
    flat = Squeeze(found, zero)
    s = Gather(scores, flat)
    b = Gather(boxes, flat)
    size = Shape(s)
    limit = Constant<value_ints = [30]>()
    both = Concat<axis = 0>(size, limit)
    k = ReduceMin<keepdims = 1>(both)
    top, order = TopK(s, k)
    best = Gather(b, order)
    batch = Unsqueeze(best, zero)
    lead = Constant<value_ints = [0, 1]>()
    row = Unsqueeze(top, lead)
    most = Constant<value_int = 100>()
    iou = Constant<value_float = 0.5>()
    chosen = NonMaxSuppression(batch, row, most, iou)
    two = Constant<value_int = 2>()
    which = Gather<axis = 1>(chosen, two)
    detections = Constant<value_ints = [10]>()
    first = Slice(which, zero, detections, zero)
    kept = Gather(best, first)
    confidence = Gather(top, first)
    inner = Gather(order, first)
    place = Gather(flat, inner)
}"""


def detection_feeds() -> list[dict[str, Array]]:
    feeds = []
    for number, (n, threshold) in enumerate(((5, 0.2), (400, 0.1), (1, 0.0), (60, 2.0), (77, 0.5))):
        made = boxes(1, 1, n, number)
        feeds.append(
            {
                "boxes": made["boxes"][0],
                "scores": np.random.default_rng(number).permutation(n).astype(np.float32) / n,
                "threshold": np.array(threshold, np.float32),
            }
        )
    return feeds


def test_post_processing_of_a_detector() -> None:
    agrees(model(DETECTION), detection_feeds())


@pytest.mark.parametrize("against", ["reference", "onnxruntime"])
def test_compare_sees_values_of_sizes_that_data_decides(against: str) -> None:
    source = model(DETECTION)
    artefact, _ = compile_graph(load(source), find("x86"), Options(jobs=0))
    feed = detection_feeds()[1]
    found = bm.compare(source, artefact, feed, against=against)
    assert found.agrees
    assert found.own
    kept = [step for step in found.steps if "gather" in step.ops]
    assert len(kept) > 3


def test_sessions_do_not_disturb_each_other() -> None:
    """Sizes belong to a session: those of one model that run at the same time see their own."""
    artefact, _ = compile_graph(load(model(DETECTION)), find("x86"), Options(jobs=0))
    loaded = Model.load(artefact)
    feeds = detection_feeds()
    alone = [Session(loaded).run(feed) for feed in feeds]

    def work(first: int) -> None:
        session = Session(loaded, threads=1 + first % 2)
        for i in range(200):
            number = (first + i) % len(feeds)
            for name, array in session.run(feeds[number]).items():
                np.testing.assert_array_equal(array, alone[number][name])

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, first) for first in range(4)]:
            done.result()


def test_shape_inference_of_the_exporter_agrees() -> None:
    """What the tests compare with is a valid model."""
    onnx.checker.check_model(model(DETECTION), full_check=True)


def test_assignment_under_a_mask() -> None:
    """`x[mask] = value` as PyTorch's newer exporter writes it."""
    proto = model("""g (float[N, M] x, bool[N, M] mask, float value) => (float[N, M] y)
    <int64[1] flat = {-1}> {
        places = NonZero(mask)
        indices = Transpose<perm = [1, 0]>(places)
        line = Reshape(mask, flat)
        ones = Cast<to = 7>(line)
        count = ReduceSum<keepdims = 1>(ones)
        values = Expand(value, count)
        updates = Reshape(values, flat)
        y = ScatterND(x, indices, updates)
    }""")
    graph = load(proto)
    for seed, shape in enumerate(((3, 4), (1, 1), (2, 9))):
        x = random(*shape, seed=seed)
        for mask in (x > 0, x > 9):
            inputs = {"x": x, "mask": mask, "value": np.float32(7)}
            np.testing.assert_array_equal(run(graph, inputs)["y"], np.where(mask, 7, x))
