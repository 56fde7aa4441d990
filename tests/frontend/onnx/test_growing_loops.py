"""Loops that carry values which grow: imported, compiled, run, and compared with ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto

import bireme as bm
from bireme.codegen.compiler import Options, compile_graph
from bireme.frontend.onnx import load
from bireme.ir import BiremeError
from bireme.runtime import RuntimeFault
from bireme.targets.registry import find
from tests.frontend.onnx.support import model, random, run
from tests.frontend.onnx.test_data_sized import Feed, agrees, compiled


def feeds(*steps: int, rows: int = 2) -> list[Feed]:
    return [
        {"limit": np.array(s), "x": random(rows, 3, seed=s), "new": random(1, 3, seed=s + 9)}
        for s in steps
    ]


def appending(rows: str = "p") -> ModelProto:
    """Appends what it makes of the last row."""
    return model(f"""g (int64 limit, float[{rows}, 3] x, float[1, 3] new) => (float[q, 3] y) {{
        y, last = Loop (limit, , x, new) <body = b (int64 i, bool c, float[a, 3] v, float[1, 3] r)
                => (bool go, float[b, 3] w, float[1, 3] s) {{
            go = Identity(c)
            w = Concat<axis = 0>(v, r)
            m = ReduceMean<keepdims = 1, noop_with_empty_axes = 0>(w)
            s = Add(r, m)
        }}> }}""")


def test_a_number_of_steps_that_is_data() -> None:
    source = appending()
    with pytest.raises(BiremeError) as caught:
        load(source)
    assert "--dim Loop_0=0..STEPS" in str(caught.value)
    agrees(source, [*feeds(0, 1, 5, 12), *feeds(3, rows=7)], dims={"Loop_0": range(13)})


def test_more_than_there_can_be() -> None:
    session = compiled(appending(), dims={"Loop_0": range(5)})
    session.run(feeds(4)[0])
    with pytest.raises(RuntimeFault) as caught:
        session.run(feeds(5)[0])
    assert caught.value.code == "BM5019"
    assert "Loop_0" in str(caught.value)
    session.run(feeds(3)[0])


def test_a_size_given_for_the_result() -> None:
    """That bounds it, too, where the number of steps has no bound."""
    agrees(appending("2"), feeds(0, 1, 8), dims={"y[0]": range(11)})
    with pytest.raises(RuntimeFault, match="BM5019"):
        compiled(appending("2"), dims={"y": range(11)}).run(feeds(9)[0])


def test_from_nothing_and_by_more_than_one() -> None:
    source = model("""g (float[n, 2] x) => (float[q, 4] y, float[n, 2] rows) {
        shape = Shape<start = 0, end = 1>(x)
        none = Constant<value_ints = [0]>()
        limit = Squeeze(shape, none)
        start = Constant<value = float[0, 4] {}>()
        y, rows = Loop (limit, , start) <body = b (int64 i, bool c, float[a, 4] v)
                => (bool go, float[b, 4] w, float[2] row) {
            go = Identity(c)
            zero = Constant<value_int = 0>()
            row = Gather(x, i)
            column = Unsqueeze(row, zero)
            both = Concat<axis = 0>(column, column, column)
            wide = Concat<axis = 1>(both, both)
            w = Concat<axis = 0>(v, wide)
        }> }""")
    agrees(source, [{"x": random(n, 2)} for n in (1, 2, 9, 70)])


CACHE = """g (int64 limit, float[1, 2, p, 4] keys, float[1, 2, 1, 4] query)
        => (float[1, 2, q, 4] cache, float[1, 2, 1, 4] out, float[k, 1, 2, 1, 4] all) {
    cache, out, all = Loop (limit, , keys, query) <
        body = b (int64 i, bool c, float[1, 2, a, 4] k, float[1, 2, 1, 4] q)
            => (bool go, float[1, 2, b, 4] kk, float[1, 2, 1, 4] next, float[1, 2, 1, 4] row) {
        go = Identity(c)
        kk = Concat<axis = 2>(k, q)
        t = Transpose<perm = [0, 1, 3, 2]>(kk)
        scores = MatMul(q, t)
        weights = Softmax<axis = -1>(scores)
        next = MatMul(weights, kk)
        row = Neg(next)
    }> }"""


def test_a_cache_of_keys() -> None:
    """As a decoder has it: attention over all there is by now."""
    source = model(CACHE)
    made = [
        {"limit": np.array(s), "keys": random(1, 2, p, 4), "query": random(1, 2, 1, 4, seed=1)}
        for s, p in ((1, 1), (6, 1), (6, 5), (11, 3), (0, 2))
    ]
    agrees(source, made, dims={"Loop_0": range(12), "p": range(1, 9)})


def test_until_the_data_says_so() -> None:
    """Two values grow, one of them by what is found in a step; one shrinks, at most to nothing."""
    source = model("""g (float[n] x, float most) => (float[a] y, int64[b] z, float[c] w) {
        limit = Constant<value_int = 9>()
        true = Constant<value = bool {1}>()
        none = Constant<value = int64[0] {}>()
        y, z, w = Loop (limit, true, x, none, x) <
            body = l (int64 i, bool c, float[d] u, int64[e] v, float[f] t)
                => (bool go, float[g] uu, int64[h] vv, float[j] tt) {
            total = ReduceSum<keepdims = 1>(u)
            uu = Concat<axis = 0>(u, total)
            zero = Constant<value_ints = [0]>()
            sum = Squeeze(total, zero)
            go = Less(sum, most)
            hits = NonZero(x)
            found = Squeeze(hits, zero)
            vv = Concat<axis = 0>(v, found)
            one = Constant<value_ints = [1]>()
            end = Constant<value_ints = [9223372036854775807]>()
            tt = Slice(t, one, end)
        }> }""")
    with pytest.raises(BiremeError) as caught:
        load(source)
    assert "--dim w[0]=0..SIZE" in str(caught.value)
    made = [{"x": np.abs(random(n)), "most": np.array(m, np.float32)}
            for n, m in ((3, 0), (3, 50), (1, 1e9), (12, 1000))]  # fmt: skip
    agrees(source, made, dims={"w": range(13)})


def test_a_size_that_doubles_needs_a_bound() -> None:
    source = model("""g (int64 limit, float[n] x) => (float[m] y) {
        y = Loop (limit, , x) <body = b (int64 i, bool c, float[a] v) => (bool go, float[d] w) {
            go = Identity(c)
            w = Concat<axis = 0>(v, v)
        }> }""")
    with pytest.raises(BiremeError) as caught:
        load(source, dims={"Loop_0": range(9)})
    assert "--dim y[0]=0..SIZE" in str(caught.value)
    made = [{"limit": np.array(s), "x": random(n)} for s, n in ((0, 5), (3, 2), (1, 8))]
    agrees(source, made, dims={"y[0]": range(17)})


def test_a_sequence_of_a_number_of_tensors_that_data_decides() -> None:
    """As `while` loops are exported that append to a list."""
    source = model("""g (int64 count, float[n, 3] x) => (float[m, 3] y) {
        limit = Constant<value_int = 9223372036854775807>()
        start = SequenceEmpty<dtype = 1>()
        zero = Constant<value_int = 0>()
        going = Less(zero, count)
        i, parts = Loop (limit, going, zero, start) <
            body = b (int64 step, bool c, int64 j, seq(float[2, 3]) before)
                => (bool go, int64 k, seq(float[2, 3]) after) {
            one = Constant<value_int = 1>()
            k = Add(j, one)
            go = Less(k, count)
            row = Gather(x, j)
            zero_1 = Constant<value_ints = [0]>()
            tall = Unsqueeze(row, zero_1)
            twice = Concat<axis = 0>(tall, tall)
            after = SequenceInsert(before, twice)
        }>
        y = ConcatFromSequence<axis = 0>(parts)
    }""")
    with pytest.raises(BiremeError, match="number of steps is not known"):
        load(source)
    made = [{"count": np.array(c), "x": random(n, 3)} for c, n in ((1, 1), (4, 5), (7, 9))]
    agrees(source, made, dims={"Loop_4": range(9)})


def test_what_the_model_says_does_not_change() -> None:
    """A size from the data that the body declares: it is checked in every step."""
    source = model("""g (float[n] x, int64 limit) => (float[2] y, float[k, 2] rows) {
        start = Constant<value_floats = [0.0, 0.0]>()
        y, rows = Loop (limit, , start) <body = b (int64 i, bool c, float[2] v)
                => (bool go, float[2] w, float[2] row) {
            go = Identity(c)
            hits = NonZero(x)
            places = Transpose<perm = [1, 0]>(hits)
            found = GatherND(x, places)
            w = Add(v, found)
            row = Neg(found)
        }> }""")
    feed = {"x": np.array([0, 3, 0, -4], np.float32), "limit": np.array(3)}
    agrees(source, [feed], dims={"Loop_1": range(5)})
    with pytest.raises(RuntimeFault, match="BM5010"):
        compiled(source, dims={"Loop_1": range(5)}).run({**feed, "x": np.ones(4, np.float32)})


@settings(max_examples=40, deadline=None)
@given(
    axis=st.integers(0, 2),
    start=st.integers(0, 3),
    more=st.integers(1, 3),
    steps=st.integers(0, 6),
    front=st.booleans(),
)
def test_any_axis_and_growth(axis: int, start: int, more: int, steps: int, front: bool) -> None:
    """Appended or put in front, along any axis, from nothing or something."""
    shape = [2, 3, 4]
    added = [more if i == axis else d for i, d in enumerate(shape)]
    names = ", ".join("k" if i == axis else str(d) for i, d in enumerate(shape))
    order = "r, v" if front else "v, r"
    source = model(f"""g (int64 limit, float[{names}] x, float[{", ".join(map(str, added))}] r)
            => (float[{names.replace("k", "m")}] y) {{
        y = Loop (limit, , x) <body = b (int64 i, bool c, float[{names}] v)
                => (bool go, float[{names.replace("k", "j")}] w) {{
            go = Identity(c)
            w = Concat<axis = {axis}>({order})
        }}> }}""")
    x = random(*(start if i == axis else d for i, d in enumerate(shape)))
    row = random(*added, seed=1)
    parts = [row] * steps
    wanted = np.concatenate([*parts, x] if front else [x, *parts], axis)
    dims = {"k": range(4), "Loop_0": range(7)}
    found = run(source, {"limit": np.array(steps), "x": x, "r": row}, dims=dims)["y"]
    np.testing.assert_array_equal(found, wanted)


def test_a_list_of_what_each_element_gives() -> None:
    """`for i in range(n)` as exporters write it: counted by the body, no bound to give. Its slices
    have one element, which decides on the sizes of others.
    """
    source = model("""g (float[n, 3] x, int64[m] ends) => (float[k, 3] y) {
        shape = Shape(ends)
        at = Constant<value_int = 0>()
        all = Gather(shape, at)
        one = Constant<value_int = 1>()
        count = Sub(all, one)
        none = SequenceEmpty<dtype = 1>()
        going = Less(at, count)
        parts, last = Loop ( , going, none, at) <
            body = b (int64 step, bool c, seq(float[1, 3]) before, int64 i)
                => (bool go, seq(float[1, 3]) after, int64 j) {
            flat = Constant<value_ints = [1]>()
            first = Reshape(i, flat)
            second = Add(first, flat)
            two = Constant<value_ints = [2]>()
            third = Add(first, two)
            start = Slice(ends, first, second)
            end = Slice(ends, second, third)
            rows = Slice(x, start, end)
            axis = Constant<value_ints = [0]>()
            sum = ReduceSum(rows, axis)
            after = SequenceInsert(before, sum)
            j = Add(i, one)
            go = Less(j, count)
        }>
        y = ConcatFromSequence<axis = 0>(parts)
    }""")
    made = [{"x": random(9, 3), "ends": np.array(e)} for e in ([0, 9], [0, 2, 2, 5, 9], [3, 1])]
    agrees(source, made)


def test_compare_sees_what_a_loop_carries() -> None:
    """Rows of steps that are not taken are anything, and no fault."""
    source, dims = model(CACHE), {"Loop_0": range(12)}
    artefact, _ = compile_graph(load(source, dims=dims), find("x86"), Options(jobs=0))
    feed = {"limit": np.array(4), "keys": random(1, 2, 3, 4), "query": random(1, 2, 1, 4)}
    found = bm.compare(source, artefact, feed, dims=dims)
    assert found.agrees
    assert found.own
    assert [step for step in found.steps if "scan" in step.ops]
    assert all(step.local.agrees for step in found.steps)
