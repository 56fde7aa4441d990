"""Sequences whose length only run time knows: parts of a tensor, and what a loop gathers."""

from __future__ import annotations

import numpy as np
import pytest

from bireme.frontend.onnx import load
from bireme.ir import BiremeError
from tests.frontend.onnx.support import model, onnxruntime_run, op_names, random, run

# How a loop over time in TorchScript is exported: a list that grows, stacked at the end.
RECURRENCE = """g (float[B, S, 4] x, float[4, 4] w) => (float[B, P, Q] y, int64 count)
<int64 one = {1}, int64 zero = {0}, int64[1] axis = {0}, bool true = {1}, int64[1] width = {4}> {
    shape = Shape(x)
    steps = Gather(shape, one)
    n = Shape<end = 1>(x)
    size = Concat<axis = 0>(n, width)
    h0 = ConstantOfShape(size)
    none = SequenceEmpty()
    last, all = Loop(steps, true, h0, none) <body = step (
        int64 t, bool c, float[B, 4] h, seq(float[B, 4]) before
    ) => (bool c2, float[B, 4] h2, seq(float[B, 4]) after) {
        now = Gather<axis = 1>(x, t)
        turned = MatMul(h, w)
        sum = Add(now, turned)
        h2 = Tanh(sum)
        APPENDS
        c2 = Identity(true)
    }>
    y = ConcatFromSequence<axis = 1, new_axis = NEW>(all)
    count = SequenceLength(all)
}"""
ONCE = "after = SequenceInsert(before, h2)"
TWICE = """half = SequenceInsert(before, h2)
        after = SequenceInsert(half, sum)"""


@pytest.mark.parametrize("new_axis", [0, 1])
@pytest.mark.parametrize("appends", [ONCE, TWICE])
def test_a_loop_gathers_a_sequence(appends: str, new_axis: int) -> None:
    proto = model(RECURRENCE.replace("APPENDS", appends).replace("NEW", str(new_axis)))
    graph = load(proto)
    for batch, steps in ((1, 1), (2, 5), (3, 70)):
        inputs = {"x": random(batch, steps, 4), "w": random(4, 4, seed=1)}
        found, expected = run(graph, inputs), onnxruntime_run(proto, inputs)
        np.testing.assert_allclose(found["y"], expected["y"], rtol=1e-5, atol=1e-5)
        assert found["count"] == expected["count"]


def test_a_loop_that_reads_what_it_gathers_is_refused() -> None:
    reads = """length = SequenceLength(before)
        dummy = Cast<to = 1>(length)
        more = Add(h2, dummy)
        after = SequenceInsert(before, more)"""
    with pytest.raises(BiremeError, match="is read in the loop that adds to it"):
        load(model(RECURRENCE.replace("APPENDS", reads).replace("NEW", "1")))


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("new_axis", [0, 1])
def test_a_split_into_an_unknown_number_of_parts(keepdims: int, new_axis: int) -> None:
    axis = 1 - new_axis if keepdims else new_axis
    proto = model(f"""g (float[B, S, 4] x, int64 i) => (float[N, M, K] y, float[P, Q] z, int64 n) {{
        parts = SplitToSequence<axis = 1, keepdims = {keepdims}>(x)
        y1 = ConcatFromSequence<axis = {axis}, new_axis = {new_axis}>(parts)
        y = Identity(y1)
        z = SequenceAt(parts, i)
        n = SequenceLength(parts)
    }}""")
    graph = load(proto)
    for batch, steps in ((2, 1), (3, 5)):
        inputs = {"x": random(batch, steps, 4), "i": np.array(steps - 1)}
        found, expected = run(graph, inputs), onnxruntime_run(proto, inputs)
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value)


def test_stacking_what_was_split_moves_no_data() -> None:
    graph = load(
        model("""g (float[S, B, 4] x) => (float[S, B, 4] y) {
            parts = SplitToSequence<axis = 0, keepdims = 0>(x)
            y = ConcatFromSequence<axis = 0, new_axis = 1>(parts)
        }""")
    )
    assert op_names(graph) == []
