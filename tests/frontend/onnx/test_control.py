"""If, Loop and Scan; functions that a model brings."""

from __future__ import annotations

import numpy as np
import pytest

from bireme.frontend.onnx import load
from bireme.ir import BiremeError
from tests.frontend.onnx.support import model, onnxruntime_run, op_names, random, run

CHOICE = """g (float[N] x{condition_input}) => (float[N] y) {constant} {{
    y = If ({condition}) <
        then_branch = then () => (float[N] t) {{ t = Exp(x) }},
        else_branch = other () => (float[N] e) {{ a = Neg(x) \n e = Relu(a) }}
    >
}}"""


def test_if_with_a_known_condition_is_inlined() -> None:
    text = CHOICE.format(condition_input="", constant="<bool yes = {1}>", condition="yes")
    assert op_names(load(model(text))) == ["exp"]


def test_if_on_an_input_runs_one_branch() -> None:
    text = CHOICE.format(condition_input=", bool c", constant="", condition="c")
    x = random(3)
    for choice in (True, False):
        found = run(model(text), {"x": x, "c": np.array(choice)})["y"]
        np.testing.assert_allclose(found, np.exp(x) if choice else np.maximum(-x, 0), rtol=1e-6)


LOOP = """g (float[N] x{inputs}) => (float[N] y{results}) {constants} {{
    y{results_plain} = Loop ({limit}, {condition}, x) <
        body = step (int64 i, bool go, float[N] v) => (bool more, float[N] w{rows}) {{
            f = Cast<to = 1>(i)
            w = Add(v, f)
            {more}
            {row}
        }}
    >
}}"""


def test_counted_loop_with_rows_becomes_a_scan() -> None:
    text = LOOP.format(
        inputs="", results=", float[T, N] rows", results_plain=", rows",
        constants="<int64 limit = {3}>", limit="limit", condition="", rows=", float[N] r",
        more="more = Identity(go)", row="r = Mul(w, w)",
    )  # fmt: skip
    graph = load(model(text))
    assert "scan" in op_names(graph)
    x = random(2)
    found, expected = run(graph, {"x": x}), onnxruntime_run(model(text), {"x": x})
    np.testing.assert_allclose(found["y"], expected["y"], rtol=1e-6)
    np.testing.assert_allclose(found["rows"], expected["rows"], rtol=1e-6)


@pytest.mark.parametrize("limit", [0, 1, 7])
def test_loop_ended_by_data_becomes_a_while(limit: int) -> None:
    text = LOOP.format(
        inputs=", int64 limit", results="", results_plain="", constants="<float ten = {10.0}>",
        limit="limit", condition="", rows="",
        more="total = ReduceSum<keepdims = 0>(w) \n more = Less(total, ten)", row="",
    )  # fmt: skip
    graph = load(model(text))
    assert "while" in op_names(graph)
    inputs = {"x": random(4), "limit": np.array(limit)}
    expected = onnxruntime_run(model(text), inputs)
    np.testing.assert_allclose(run(graph, inputs)["y"], expected["y"], rtol=1e-6)


def test_rows_of_an_unknown_number_are_refused() -> None:
    text = LOOP.format(
        inputs=", int64 limit", results=", float[T, N] rows", results_plain=", rows",
        constants="", limit="limit", condition="", rows=", float[N] r",
        more="more = Identity(go)", row="r = Mul(w, w)",
    )  # fmt: skip
    with pytest.raises(BiremeError) as error:
        load(model(text))
    assert error.value.code == "BM1007"
    assert "the number of steps is not known" in error.value.detail


def test_loop_whose_values_grow_is_unrolled() -> None:
    source = model("""g (float[N] x) => (float[M] y) <int64 limit = {3}> {
        y = Loop (limit, , x) <
            body = step (int64 i, bool go, float[A] v) => (bool more, float[B] w) {
                more = Identity(go)
                w = Concat<axis = 0>(v, x)
            }
        >
    }""")
    x = random(2)
    np.testing.assert_array_equal(run(source, {"x": x})["y"], np.tile(x, 4))


@pytest.mark.parametrize("backward", [0, 1])
def test_scan_directions_and_axes(backward: int) -> None:
    source = model(f"""g (float[2] start, float[2, T] xs) => (float[2] last, float[2, T] sums) {{
        last, sums = Scan<
            num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [1],
            scan_input_directions = [{backward}], scan_output_directions = [{backward}],
            body = step (float[2] s, float[2] x) => (float[2] t, float[2] r) {{
                t = Add(s, x)
                r = Identity(t)
            }}
        >(start, xs)
    }}""")
    inputs = {"start": random(2), "xs": random(2, 5, seed=1)}
    found, expected = run(source, inputs), onnxruntime_run(source, inputs)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)


@pytest.mark.parametrize(("backward", "lengths"), [(0, False), (1, False), (0, True)])
def test_scan_over_a_batch(backward: int, lengths: bool) -> None:
    """Opset 8: every element of the batch is scanned by itself, up to its own length."""
    extra, name = ("int64[B] counts, ", "counts") if lengths else ("", "")
    source = model(
        f"""g ({extra}float[B, 2] start, float[B, T, 2] xs)
            => (float[B, 2] last, float[B, T, 2] sums) {{
        last, sums = Scan<
            num_scan_inputs = 1, directions = [{backward}],
            body = step (float[2] s, float[2] x) => (float[2] t, float[2] r) {{
                t = Add(s, x)
                r = Identity(t)
            }}
        >({name}, start, xs)
    }}""",
        opset=8,
    )
    inputs = {"start": random(3, 2), "xs": random(3, 5, 2, seed=1)}
    counts = np.array([5, 2, 4], np.int64)
    if lengths:
        inputs["counts"] = counts
    found, expected = run(source, inputs), onnxruntime_run(source, inputs)
    np.testing.assert_allclose(found["last"], expected["last"], rtol=1e-5)
    for row, count in enumerate(counts if lengths else [5] * 3):
        np.testing.assert_allclose(
            found["sums"][row, :count], expected["sums"][row, :count], rtol=1e-5
        )


FUNCTION = """
<domain: "shop", opset_import: ["" : 21]>
Scaled <factor>(x) => (y) {
    f = Constant<value_float: float = @factor>()
    y = Mul(x, f)
}
"""


def test_model_function_is_expanded() -> None:
    source = model(
        "g (float[N] x) => (float[N] y) { y = shop.Scaled<factor = 2.5>(x) }",
        functions=FUNCTION,
        extra=', "shop" : 1',
    )
    x = random(3)
    np.testing.assert_allclose(run(source, {"x": x})["y"], x * 2.5, rtol=1e-6)


def test_function_that_calls_itself_is_refused() -> None:
    source = model(
        "g (float[N] x) => (float[N] y) { y = shop.Again(x) }",
        functions="""
        <domain: "shop", opset_import: ["" : 21, "shop" : 1]>
        Again (x) => (y) { y = shop.Again(x) }
        """,
        extra=', "shop" : 1',
    )
    with pytest.raises(BiremeError) as error:
        load(source)
    assert error.value.code == "BM1005"
    assert "nested" in error.value.detail


def test_call_with_more_outputs_than_the_function_has() -> None:
    source = model(
        "g (float[N] x) => (float[N] y) { y, z = shop.Scaled<factor = 2.5>(x) }",
        functions=FUNCTION,
        extra=', "shop" : 1',
    )
    with pytest.raises(BiremeError) as error:
        load(source)
    assert error.value.code == "BM1005"
    assert "2 outputs; the function has 1" in error.value.detail


def test_fault_inside_a_function_names_both_nodes() -> None:
    source = model(
        "g (float[N] x) => (float[N] y) { [outer] y = shop.Odd(x) }",
        functions="""
        <domain: "shop", opset_import: ["" : 21]>
        Odd (x) => (y) { [inner] y = ImageDecoder(x) }
        """,
        extra=', "shop" : 1',
    )
    with pytest.raises(BiremeError) as error:
        load(source)
    assert "outer/inner: ImageDecoder-21: image codecs" in error.value.detail


def test_operator_without_a_converter_uses_its_onnx_body() -> None:
    source = model("""g (float[2, 3, 8] q, float[2, 3, 8] k, float[2, 3, 8] v)
    => (float[2, 3, 8] y) {
        y = Attention<q_num_heads = 2, kv_num_heads = 2, is_causal = 1>(q, k, v)
    }""", opset=23)  # fmt: skip
    inputs = {n: random(2, 3, 8, seed=i) for i, n in enumerate("qkv")}
    expected = onnxruntime_run(source, inputs)["y"]
    np.testing.assert_allclose(run(source, inputs)["y"], expected, rtol=1e-4, atol=1e-6)


def test_sequences_of_known_length_leave_no_trace() -> None:
    source = model("""g (float[4, N] x) => (float[4, N] y, int64 count)
    <int64 one = {1}, int64 last = {-1}> {
        rows = SplitToSequence<axis = 0>(x)
        row = SequenceAt(rows, one)
        fewer = SequenceErase(rows, one)
        again = SequenceInsert(fewer, row, last)
        count = SequenceLength(again)
        y = ConcatFromSequence<axis = 0>(again)
    }""")
    x = random(4, 3)
    found = run(source, {"x": x})
    np.testing.assert_array_equal(found["y"], x[[0, 2, 1, 3]])
    assert found["count"] == 4


def test_loop_that_collects_a_sequence_is_unrolled() -> None:
    source = model("""g (float[N] x) => (float[3, N] y) <int64 limit = {3}> {
        none = SequenceEmpty()
        rows = Loop (limit, , none) <
            body = step (int64 i, bool go, seq(float[N]) s) => (bool more, seq(float[N]) t) {
                more = Identity(go)
                f = Cast<to = 1>(i)
                row = Mul(x, f)
                t = SequenceInsert(s, row)
            }
        >
        y = ConcatFromSequence<axis = 0, new_axis = 1>(rows)
    }""")
    x = random(2)
    expected = np.stack([x * 0, x, x * 2])
    np.testing.assert_allclose(run(source, {"x": x})["y"], expected)


SQUEEZE = """g (float[N, K] x) => (float[N] y) <int64[1] axis = {{1}}, int64 one = {{1}}> {{
    k = Shape<start = 1>(x)
    c = Equal(k, one)
    y = If (c) <
        then_branch = then () => (float[N] t) {{ {then} }},
        else_branch = other () => (float[N, K] e) {{ e = Identity(x) }}
    >
}}"""


def test_squeeze_of_an_unknown_axis_is_checked_when_it_runs() -> None:
    graph = load(model(SQUEEZE.format(then="t = Squeeze(x, axis)")))
    x = random(3, 1)
    np.testing.assert_array_equal(run(graph, {"x": x})["y"], x[:, 0])
    with pytest.raises(BiremeError):
        run(graph, {"x": random(3, 2)})


def test_branches_of_different_rank_are_refused_until_sizes_decide() -> None:
    source = model(SQUEEZE.format(then="t = ReduceSum<keepdims = 0>(x, axis)"))
    with pytest.raises(BiremeError) as error:
        load(source)
    assert error.value.code == "BM1007"
    assert "--dim" in error.value.hint
    assert op_names(load(source, dims={"K": 1})) == ["reduce_sum"]
