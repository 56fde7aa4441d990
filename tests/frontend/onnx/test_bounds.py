"""Bounds of expressions hold for every value of the symbols; slices agree with Python's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bireme.frontend.onnx.bounds import Bounds
from bireme.ir import Dim, SymbolRange, evaluate, maximum, minimum, symbol
from bireme.ir.dims import floordiv, mod

N, M = symbol("n"), symbol("m")
RANGES = {"n": SymbolRange(1, 9), "m": SymbolRange(0, 4)}


def expressions() -> st.SearchStrategy[Dim]:
    """Expressions over n and m."""
    leaves = st.one_of(st.integers(-6, 6), st.sampled_from([N, M]))

    def grow(children: st.SearchStrategy[Dim]) -> st.SearchStrategy[Dim]:
        pairs = st.tuples(children, children)
        divisors = st.tuples(children, st.integers(1, 5))
        return st.one_of(
            pairs.map(lambda p: p[0] + p[1]),
            pairs.map(lambda p: p[0] - p[1]),
            pairs.map(lambda p: p[0] * p[1]),
            pairs.map(lambda p: minimum(*p)),
            pairs.map(lambda p: maximum(*p)),
            divisors.map(lambda p: floordiv(*p)),
            divisors.map(lambda p: mod(*p)),
        )

    return st.recursive(leaves, grow, max_leaves=6)


def values() -> list[dict[str, int]]:
    """Every assignment that the ranges allow."""
    return [{"n": n, "m": m} for n in range(1, 10) for m in range(5)]


@given(expressions())
def test_interval_holds_every_value(dim: Dim) -> None:
    low, high = Bounds(RANGES).of(dim)
    assert all(low <= evaluate(dim, v) <= high for v in values())


@given(expressions(), expressions())
def test_decisions_are_right(a: Dim, b: Dim) -> None:
    bounds = Bounds(RANGES)
    less, equal = bounds.less(a, b), bounds.equal(a, b)
    for v in values():
        x, y = evaluate(a, v), evaluate(b, v)
        assert less in (None, x < y)
        assert equal in (None, x == y)
        assert evaluate(bounds.minimum(a, b), v) == min(x, y)
        assert evaluate(bounds.maximum(a, b), v) == max(x, y)


INDEX = st.one_of(st.integers(-12, 12), st.sampled_from([-(2**63), 2**63 - 1, 2**31 - 1]))
STEP = st.integers(-3, 3).filter(bool)


@given(INDEX, INDEX, STEP, st.sampled_from([N, M, N * 2 - 1]))
def test_slices_are_pythons_but_for_a_backward_start(
    start: int, end: int, step: int, size: Dim
) -> None:
    first, count = Bounds(RANGES).slice(start, end, step, size)
    for v in values():
        row = list(range(evaluate(size, v)))
        stop = None if step < 0 and end < -len(row) else end
        # ONNX clamps a start before the first element to that element, Python to none.
        begin = max(start, -len(row)) if step < 0 else start
        expected = row[begin:stop:step]
        assert evaluate(count, v) == len(expected)
        if expected:
            begin = evaluate(first, v)
            assert [row[begin + step * i] for i in range(len(expected))] == expected


@given(st.sampled_from([N - 3, M - 2, N - M]))
def test_a_start_of_unknown_sign_counts_from_the_right_end(start: Dim) -> None:
    first, count = Bounds(RANGES).slice(start, 2**63 - 1, 1, N)
    for v in values():
        row = list(range(v["n"]))
        expected = row[evaluate(start, v) :]
        assert evaluate(count, v) == len(expected)
        assert not expected or evaluate(first, v) == expected[0]
