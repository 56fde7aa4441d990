"""Operators that draw: types, shapes, distributions, and when numbers are the same or new ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from bireme.codegen.compiler import Options, compile_graph
from bireme.frontend.onnx import load
from bireme.ir import Array, BiremeError, DType, reference
from bireme.runtime import Model, Session
from bireme.targets.registry import find
from tests.frontend.onnx.support import model, op_names, run

COUNT = 100 * 300
FLOATS = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}
ONNX_NAMES = {1: "float", 10: "float16", 11: "double", 16: "bfloat16"}


def draw(
    node: str, kind: str = "float", opset: int = 22, feed: dict[str, Array] | None = None
) -> Array:
    """The output of one node; `x` is its input in `feed`, by default none."""
    feed = feed or {}
    inputs = ", ".join(f"{_TYPES[str(a.dtype)]}[{', '.join('N' * a.ndim)}] {n}"
                       for n, a in feed.items())  # fmt: skip
    body = f"g ({inputs}) => ({kind} y) {{ y = {node} }}"
    (found,) = run(model(body, opset), feed).values()
    return found


_TYPES = {"float32": "float", "float64": "double", "float16": "float16", "bfloat16": "bfloat16",
          "int32": "int32", "bool": "bool"}  # fmt: skip


def check_moments(found: Array, mean: float, deviation: float, fourth: float, step: float) -> None:
    """Mean and variance within four of their own deviations, and what rounding adds."""
    x, root = found.astype(np.float64), math.sqrt(found.size)
    assert abs(x.mean() - mean) < 4 * deviation / root + step
    spread = deviation**2 * math.sqrt(fourth - 1)
    assert abs(((x - mean) ** 2).mean() - deviation**2) < 4 * spread / root + step


@pytest.mark.parametrize(("number", "opset"), [(1, 7), (11, 7), (10, 14), (1, 22), (16, 22)])
def test_normal(number: int, opset: int) -> None:
    attrs = f"shape = [100, 300], mean = 2.0, scale = 3.0, dtype = {number}"
    found = draw(f"RandomNormal<{attrs}>()", f"{ONNX_NAMES[number]}[A, B]", opset)
    assert found.dtype == DType.of(FLOATS[number]).numpy
    assert found.shape == (100, 300)
    check_moments(found, 2, 3, 3, 0.01 if found.dtype.itemsize == 2 else 0)


@pytest.mark.parametrize(("number", "opset"), [(1, 7), (11, 7), (10, 14), (1, 22), (16, 22)])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 2.0), (-3.0, 0.1)])
def test_uniform(number: int, opset: int, low: float, high: float) -> None:
    """`high` itself does not occur, though bfloat16 would round one in 512 numbers up to it."""
    attrs = f"shape = [100, 300], low = {low}, high = {high}, dtype = {number}"
    found = draw(f"RandomUniform<{attrs}>()", f"{ONNX_NAMES[number]}[A, B]", opset)
    assert found.dtype == DType.of(FLOATS[number]).numpy
    assert found.min() >= found.dtype.type(low)
    assert found.max() < found.dtype.type(high)
    step = (high - low) * {"float16": 2.0**-10, "bfloat16": 2.0**-7}.get(FLOATS[number], 0)
    check_moments(found, (low + high) / 2, (high - low) / math.sqrt(12), 1.8, step)


@pytest.mark.parametrize("op", ["RandomNormalLike", "RandomUniformLike"])
def test_like_takes_shape_and_type_of_its_input(op: str) -> None:
    for name in ("float32", "float64", "float16"):
        x = np.zeros((3, 3), name)
        found = draw(f"{op}(x)", f"{_TYPES[name]}[A, B]", feed={"x": x})
        assert (found.dtype, found.shape) == (x.dtype, (3, 3))
    found = draw(f"{op}<dtype = 11>(x)", "double[A]", 7, {"x": np.zeros(4, np.int32)})
    assert (found.dtype, found.shape) == (np.dtype(np.float64), (4,))


def test_ranges_of_no_width_and_of_no_spread() -> None:
    assert set(draw("RandomUniform<shape = [9], low = 2.0, high = 2.0>()", "float[A]")) == {2.0}
    assert set(draw("RandomNormal<shape = [9], mean = 2.0, scale = 0.0>()", "float[A]")) == {2.0}
    assert draw("RandomNormal<shape = [2, 0, 3]>()", "float[A, B, C]").shape == (2, 0, 3)
    assert draw("RandomNormal<shape = [1]>()", "float[A]").shape == (1,)


@pytest.mark.parametrize(
    ("number", "kind"),
    [(0, "float"), (9, "bool"), (2, "uint8"), (7, "int64"), (11, "double"), (10, "float16")],
)
def test_bernoulli(number: int, kind: str) -> None:
    shares = np.linspace(0, 1, 11, dtype=np.float32)
    x = np.repeat(shares, 11 * 1000).reshape(-1, 110)
    attr = f"<dtype = {number}>" if number else ""
    found = draw(f"Bernoulli{attr}(x)", f"{kind}[A, B]", 15, {"x": x[:110]})
    assert found.shape == (110, 110)
    assert {float(v) for v in np.unique(found)} <= {0.0, 1.0}
    (found,) = run(model(f"g (float[A, B] x) => ({kind}[A, B] y) {{ y = Bernoulli{attr}(x) }}", 15),
                   {"x": x}).values()  # fmt: skip
    means = found.reshape(11, -1).astype(np.float64).mean(1)
    assert means[0] == 0
    assert means[-1] == 1
    assert (np.abs(means - shares) < 4 * np.sqrt(shares * (1 - shares) / 11_000) + 1e-12).all()


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_multinomial_draws_classes_by_their_shares(dtype: str) -> None:
    logits = np.array([[-1, 3, -np.inf, 2.5, 0.5], [0, 0, 0, 0, -np.inf]], dtype)
    body = (f"g ({_TYPES[dtype]}[B, C] x) => (int64[B, S] y)"
            "{ y = Multinomial<dtype = 7, sample_size = 20000>(x) }")  # fmt: skip
    (found,) = run(model(body, 7), {"x": logits}).values()
    assert (found.dtype, found.shape) == (np.dtype(np.int64), (2, 20_000))
    for row, drawn in zip(logits.astype(np.float64), found, strict=True):
        shares = np.exp(row) / np.exp(row).sum()
        counts = np.bincount(drawn, minlength=5)
        assert (counts[shares == 0] == 0).all()
        expected = (shares * 20_000)[shares > 0]
        chi_square = ((counts[shares > 0] - expected) ** 2 / expected).sum()
        assert chi_square < 16.3  # 3 degrees of freedom: 99.9 %


def test_multinomial_gives_int32_and_one_sample_unless_told_otherwise() -> None:
    (found,) = run(model("g (float[B, C] x) => (int32[B, S] y) { y = Multinomial(x) }"),
                   {"x": np.array([[0, 99.0, 0]], np.float32)}).values()  # fmt: skip
    assert (found.dtype, found.tolist()) == (np.dtype(np.int32), [[1]])


# --- dropout --------------------------------------------------------------------------------------

DROPOUT = """g (float[N] x, float ratio, bool training) => (float[N] y, bool[N] mask)
             { y, mask = Dropout(x, ratio, training) }"""


@pytest.mark.parametrize("ratio", [0.0, 0.25, 1.0])
def test_dropout_of_a_model_that_trains_on(ratio: float) -> None:
    """As in a text-to-speech model whose first layers drop out when it is used, too."""
    x = np.random.default_rng(0).standard_normal(COUNT).astype(np.float32)
    feed = {"x": x, "ratio": np.array(ratio, np.float32), "training": np.array(True)}
    found = run(model(DROPOUT), feed)
    y, mask = found["y"], found["mask"]
    assert abs(mask.mean() - (1 - ratio)) < 4 * math.sqrt(ratio * (1 - ratio) / COUNT) + 1e-12
    assert (y[~mask] == 0).all()
    np.testing.assert_allclose(y[mask], (x[mask] / (1 - ratio) if ratio < 1 else x[:0]), rtol=1e-6)
    feed["training"] = np.array(False)
    found = run(model(DROPOUT), feed)
    np.testing.assert_array_equal(found["y"], x)
    assert found["mask"].all()


@pytest.mark.parametrize("fixed", [{"training": np.array(False)}, {"ratio": np.float32(0)}])
def test_dropout_draws_nothing_where_it_is_known_to_do_nothing(fixed: dict[str, Any]) -> None:
    graph = load(model(DROPOUT), constants={k: np.asarray(v) for k, v in fixed.items()})
    assert "random_key" not in op_names(graph)


# --- the same numbers, or new ones ----------------------------------------------------------------


def sessions(
    body: str, feed: dict[str, Array], seeds: list[int], runs: int = 2
) -> list[list[dict]]:
    """Outputs of each run of a compiled session with each seed, checked against the reference."""
    graph = load(model(body))
    data, _ = compile_graph(graph, find("x86"), Options(cache=None, jobs=0))
    found = []
    for seed in seeds:
        session = Session(Model.load(data), seed=seed)
        found.append([session.run(feed) for _ in range(runs)])
        for number, outputs in enumerate(found[-1]):
            wanted = reference.run(graph, feed, seed=seed, run_number=number)
            for name, array in wanted.items():
                np.testing.assert_allclose(outputs[name], array, rtol=1e-5, atol=1e-5)
    return found


def test_nodes_runs_and_seeds_have_numbers_of_their_own() -> None:
    body = """g (float[N] x) => (float[N] a, float[N] b)
              { a = RandomNormalLike(x) b = RandomNormalLike(x) }"""
    one, other = sessions(body, {"x": np.zeros(40, np.float32)}, [1, 2])
    arrays = [tuple(o[name].tolist()) for outputs in (one, other) for o in outputs for name in "ab"]
    assert len(set(arrays)) == 8


def test_nodes_with_a_seed_repeat_theirs() -> None:
    body = """g (float[N] x) => (float[N] a, float[N] b, float[N] c)
              { a = RandomNormalLike<seed = 0.5>(x) b = RandomNormalLike<seed = 0.5>(x)
                c = RandomNormalLike<seed = 0.25>(x) }"""
    one, other = sessions(body, {"x": np.zeros(40, np.float32)}, [1, 2])
    first = one[0]
    for outputs in (*one, *other):
        for name, array in first.items():
            np.testing.assert_array_equal(outputs[name], array)
    np.testing.assert_array_equal(first["a"], first["b"])
    assert (first["a"] != first["c"]).all()


LOOP = """g (float[2] x, int64 n) => (float[2] last, float[S, 2] all) {{
    yes = Constant<value = bool {{1}}>()
    last, all = Loop(n, yes, x) <body = step (int64 i, bool go, float[2] s)
        => (bool more, float[2] next, float[2] noise)
        {{ noise = RandomNormalLike{0}(s) next = Add(s, noise) more = Identity(go) }}>
}}"""
SCAN = """g (float[2] x, float[5, 2] rows) => (float[2] last, float[5, 2] all) {{
    last, all = Scan<num_scan_inputs = 1, body = step (float[2] s, float[2] row)
        => (float[2] next, float[2] noise)
        {{ noise = RandomNormalLike{0}(row) next = Add(s, noise) }}>(x, rows)
}}"""


@pytest.mark.parametrize("attrs", ["", "<seed = 3.0>"])
@pytest.mark.parametrize("form", ["loop", "scan"])
def test_every_step_of_a_loop_has_numbers_of_its_own(form: str, attrs: str) -> None:
    x = np.zeros(2, np.float32)
    feed = (
        {"x": x, "n": np.array(5)}
        if form == "loop"
        else {"x": x, "rows": np.ones((5, 2), np.float32)}
    )
    options = {"dims": {"Loop_1": 5}} if form == "loop" else {}
    graph = load(model((LOOP if form == "loop" else SCAN).format(attrs)), **options)
    data, _ = compile_graph(graph, find("x86"), Options(cache=None, jobs=0))
    session = Session(Model.load(data), seed=1)
    runs = [session.run(feed) for _ in range(2)]
    for number, outputs in enumerate(runs):
        wanted = reference.run(graph, feed, seed=1, run_number=number)
        for name, array in wanted.items():
            np.testing.assert_allclose(outputs[name], array, rtol=1e-5, atol=1e-5)
        assert len(np.unique(outputs["all"])) == 10
    assert np.array_equal(runs[0]["all"], runs[1]["all"]) is bool(attrs)


def test_branches_draw_when_they_are_taken() -> None:
    body = """g (bool c, float[4] x) => (float[4] y, float[4] z) {
        y = If(c) <then_branch = a () => (float[4] p) { p = RandomNormalLike(x) },
                   else_branch = b () => (float[4] q) { q = RandomUniformLike(x) }>
        z = RandomUniformLike(x) }"""
    for taken in (True, False):
        feed = {"c": np.array(taken), "x": np.zeros(4, np.float32)}
        ((first, second),) = sessions(body, feed, [4])
        assert not np.array_equal(first["y"], second["y"])


def test_shapes_that_data_decides() -> None:
    """As in a text-to-speech model, whose noise is as long as the durations that it predicts."""
    body = """g (float[N, M] x, bool[N] keep) => (float[K, M] y, float[M, K] z)
              { c = Compress<axis = 0>(x, keep) r = RandomNormalLike(c) y = Add(c, r)
                q = RandomUniformLike(c) z = Transpose(q) }"""
    keep = np.arange(40) % 3 == 0
    ((first, second),) = sessions(body, {"x": np.zeros((40, 9), np.float32), "keep": keep}, [4])
    assert first["z"].shape == (9, 14)
    assert not np.array_equal(first["y"], second["y"])


def test_a_loop_that_its_own_draws_end() -> None:
    body = """g (float[2] x, int64 n) => (float[2] last) {
        yes = Constant<value = bool {1}>()
        last = Loop(n, yes, x) <body = step (int64 i, bool go, float[2] s)
            => (bool more, float[2] next)
            { noise = RandomNormalLike(s) next = Add(s, noise)
              largest = ReduceMax<keepdims = 0>(next)
              limit = Constant<value_float = 1.5>() more = Less(largest, limit) }>
    }"""
    feed = {"x": np.zeros(2, np.float32), "n": np.array(50)}
    (runs,) = sessions(body, feed, [4], runs=4)
    assert len({run["last"].tobytes() for run in runs}) == 4
    assert all(run["last"].max() >= 1.5 for run in runs)


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "text"),
    [
        ("y = RandomUniform<shape = [2], low = 2.0, high = 1.0>()", "low 2.0 is above high 1.0"),
        ("y = RandomUniform<shape = [2], low = 0.0, high = nan>()", "low 0.0 is above high nan"),
        ("y = RandomNormal<shape = [2, -1]>()", "shape [2, -1] is not allowed"),
        ("y = RandomNormal<shape = [1099511627776, 1099511627776]>()",
         "shape [1099511627776, 1099511627776] is not allowed"),
        ("y = RandomNormal<shape = [2], dtype = 6>()",
         "random numbers of type int32: give a float 'dtype'"),
        ("y = RandomNormalLike(k)", "random numbers of type int32: give a float 'dtype'"),
        ("y = Multinomial(v)", "1 samples of float32[3]: expected [batch, classes]"),
        ("y = Multinomial<sample_size = -1>(x)",
         "-1 samples of float32[2, 3]: expected [batch, classes]"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused(node: str, text: str) -> None:
    body = f"g (float[2, 3] x, float[3] v, int32[2] k) => (float[A] y) {{ {node} }}"
    with pytest.raises(BiremeError, match="BM1006") as info:
        load(model(body))
    assert text in str(info.value)
