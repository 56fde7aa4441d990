"""Dimension expressions: simplification never changes a value, and text reads back."""

from __future__ import annotations

import ast
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bireme.ir import BiremeError, Dim, DimExpr, ceildiv, evaluate, maximum, minimum, parse, symbol
from bireme.ir.dims import is_nonnegative, product, substitute, symbols_of

NAMES = ("n", "m", "seq")
Tree = int | str | tuple[str, "Tree", "Tree"]

trees = st.recursive(
    st.integers(-6, 6) | st.sampled_from(NAMES),
    lambda inner: st.tuples(
        st.sampled_from(["+", "-", "*", "//", "%", "min", "max"]), inner, inner
    ),
    max_leaves=12,
)
sizes = st.fixed_dictionaries({name: st.integers(0, 40) for name in NAMES})


def build(tree: Tree) -> Dim:
    """The tree as a dimension, simplified on the way."""
    if isinstance(tree, int):
        return tree
    if isinstance(tree, str):
        return symbol(tree)
    op, left, right = tree
    a, b = build(left), build(right)
    match op:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case "//":
            # The function, not the operator: both may be plain ints, and then 0 must still fail.
            return parse(f"({a}) // ({b})")
        case "%":
            return parse(f"({a}) % ({b})")
        case "min":
            return minimum(a, b)
    return maximum(a, b)


def plain(tree: Tree, values: Mapping[str, int]) -> int:
    """The tree in Python's own arithmetic."""
    if isinstance(tree, int):
        return tree
    if isinstance(tree, str):
        return values[tree]
    op, left, right = tree
    a, b = plain(left, values), plain(right, values)
    match op:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case "//":
            return a // b
        case "%":
            return a % b
        case "min":
            return min(a, b)
    return max(a, b)


def built(tree: Tree) -> Dim | None:
    """None when the tree divides by a constant zero."""
    try:
        return build(tree)
    except BiremeError as error:
        if error.code != "BM2006":
            raise
        return None


@given(trees, sizes)
def test_simplifying_keeps_the_value(tree: Tree, values: dict[str, int]) -> None:
    dim = built(tree)
    try:
        expected = plain(tree, values)
    except ZeroDivisionError:
        return
    assert dim is not None
    assert evaluate(dim, values) == expected


@given(trees)
def test_text_reads_back(tree: Tree) -> None:
    dim = built(tree)
    if dim is not None:
        assert parse(str(dim)) == dim
        assert parse(str(dim)) is dim or hash(parse(str(dim))) == hash(dim)


@given(trees, sizes)
def test_nonnegative_is_never_wrong(tree: Tree, values: dict[str, int]) -> None:
    dim = built(tree)
    if dim is None or not is_nonnegative(dim):
        return
    try:
        value = evaluate(dim, values)
    except BiremeError:  # divides by a symbol that is 0 here
        return
    assert value >= 0


@given(trees, sizes)
def test_substitution_in_parts_equals_evaluation(tree: Tree, values: dict[str, int]) -> None:
    dim = built(tree)
    if dim is None:
        return
    try:
        expected = evaluate(dim, values)
        partial = substitute(dim, {"n": values["n"]})
    except BiremeError:
        return
    assert symbols_of(partial) <= symbols_of(dim) - {"n"}
    assert evaluate(partial, values) == expected


@given(st.integers(-50, 50), st.integers(1, 9), sizes)
def test_ceildiv_rounds_up(offset: int, divisor: int, values: dict[str, int]) -> None:
    n = symbol("n")
    expected = -(-(values["n"] + offset) // divisor)
    assert evaluate(ceildiv(n + offset, divisor), values) == expected


def test_equal_expressions_are_equal() -> None:
    n, m = symbol("n"), symbol("m")
    assert (n + m) * 2 == 2 * m + n * 2
    assert n - n == 0
    assert (4 * n + 3) // 4 == n
    assert (n * m) // m == n
    assert ((n - 1) // 2 + 1 - 1) // 2 == (n - 1) // 4
    assert (6 * n) % 3 == 0
    assert maximum(n + 1, n) == n + 1
    assert minimum(n, n * 2) == n
    assert product([n, 2, m]) == 2 * m * n


def test_extremes_stay_when_the_sign_is_unknown() -> None:
    n = symbol("n")
    least = maximum((n - 5) // 2, 0)
    assert evaluate(least, {"n": 0}) == 0
    assert evaluate(least, {"n": 9}) == 2


def test_result_is_an_int_when_no_symbol_is_left() -> None:
    n = symbol("n")
    assert isinstance(n - n + 3, int)
    assert isinstance(n, DimExpr)


def test_plain_text() -> None:
    n = symbol("n")
    assert str(2 * n * n - n + 3) == "2*n*n - n + 3"
    assert str(ceildiv(n, 2)) == "(n + 1) // 2"
    assert str(3 - n // 2 * 4) == "-4*(n // 2) + 3"
    assert str(-(n // 2) + n) == "-(n // 2) + n"
    assert str((n // 2 + 1) % (2 * n)) == "(n // 2 + 1) % (2*n)"
    assert str((2 * n) // 3 // n) == "((2*n) // 3) // n"
    assert str(minimum(n, 7) // -3 * n) == "n*(min(7, n) // -3)"
    assert str(minimum(n, 7)) == "min(7, n)"


@pytest.mark.parametrize("name", ["", "1n", "a b", "if", "None", "größe", "a-b"])
def test_symbol_names_are_checked(name: str) -> None:
    with pytest.raises(BiremeError, match="is not a symbol's name") as caught:
        symbol(name)
    assert caught.value.code == "BM2006"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "invalid syntax"),
        ("n +", "invalid syntax"),
        ("n / 2", "n / 2 is not allowed in a dimension"),
        ("n ** 2", "n ** 2 is not allowed in a dimension"),
        ("f(n)", "f(n) is not allowed in a dimension"),
        ("min(n)", "min(n) is not allowed in a dimension"),
        ("__import__('os')", "is not allowed in a dimension"),
        ("True", "True is not allowed in a dimension"),
        ("2.5", "2.5 is not allowed in a dimension"),
        ("n // 0", "division of n by zero"),
        ("n % 0", "n modulo zero"),
        ("3 % 0", "3 modulo zero"),
        ("(" * 400 + "n" + ")" * 400, "too many nested parentheses"),
    ],
)
def test_bad_text_is_refused(text: str, reason: str) -> None:
    with pytest.raises(BiremeError) as caught:
        parse(text)
    assert caught.value.code == "BM2006"
    assert reason in str(caught.value)


def test_deep_text_is_refused_not_a_crash() -> None:
    with pytest.raises(BiremeError) as caught:
        parse("-" * 100_000 + "n")
    assert caught.value.code == "BM2006"


def test_missing_symbols_are_named() -> None:
    with pytest.raises(BiremeError, match="needs a value for m") as caught:
        evaluate(symbol("n") + symbol("m"), {"n": 2})
    assert caught.value.code == "BM2007"


def test_division_by_a_size_of_zero_is_an_error() -> None:
    with pytest.raises(BiremeError) as caught:
        evaluate(symbol("n") // symbol("m"), {"n": 4, "m": 0})
    assert caught.value.code == "BM2006"


def test_text_is_python() -> None:
    n, m = symbol("n"), symbol("m")
    dim = (n * 3 - m) // 4 + minimum(n, m)
    assert eval(str(dim), {"n": 9, "m": 2}) == evaluate(dim, {"n": 9, "m": 2})
    ast.parse(str(dim), mode="eval")


def test_sizes_do_not_grow_without_bound() -> None:
    def squared(dim: Dim, times: int) -> Dim:
        return squared(dim * dim + 1, times - 1) if times else dim

    with pytest.raises(BiremeError) as error:
        squared(symbol("n"), 60)
    assert error.value.code == "BM2012"
