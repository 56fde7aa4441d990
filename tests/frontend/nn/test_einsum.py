"""Einstein summation against NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bireme.frontend import nn
from bireme.frontend.nn import functional as F  # noqa: N812 - its usual name
from bireme.ir import BiremeError, reference

SIZES = {"a": 2, "b": 3, "c": 4, "d": 1, "e": 5}


def operands(terms: list[str]) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal([SIZES[c] for c in term], np.float32) for term in terms]


class Einsum(nn.Module):
    def __init__(self, equation: str) -> None:
        self.equation = equation

    def forward(self, **inputs: nn.Tensor) -> nn.Tensor:
        return F.einsum(self.equation, *inputs.values())


@st.composite
def equations(draw: st.DrawFn) -> tuple[list[str], str]:
    term = st.lists(st.sampled_from("abcde"), unique=True, max_size=4).map("".join)
    terms = draw(st.lists(term, min_size=1, max_size=3))
    letters = sorted(set("".join(terms)))
    kept = draw(st.lists(st.sampled_from(letters), unique=True)) if letters else []
    return terms, "".join(kept)


@given(equations())
def test_every_equation(equation: tuple[list[str], str]) -> None:
    terms, result = equation
    text = f"{','.join(terms)}->{result}"
    arrays = operands(terms)
    found = F.einsum(text, *arrays).numpy()
    wanted = np.einsum(text, *(x.astype(np.float64) for x in arrays))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "equation", ["abc,cd->abd", "abc,abe->ace", "ab,ab->", "ab, bc", "abc->ca"]
)
def test_traced_with_symbols(equation: str) -> None:
    terms = equation.partition("->")[0].replace(" ", "").split(",")
    arrays = {f"x{i}": x for i, x in enumerate(operands(terms))}
    specs = {k: nn.Spec(tuple(t)) for k, t in zip(arrays, terms, strict=True)}
    graph = nn.trace(Einsum(equation), specs)
    found = reference.run(graph, arrays)["output"]
    np.testing.assert_allclose(found, np.einsum(equation, *arrays.values()), rtol=1e-5, atol=1e-6)
    assert sum(op.name == "matmul" for op in graph.walk()) == len(terms) - 1


@pytest.mark.parametrize(
    ("equation", "detail"),
    [
        ("ab->a", "'ab->a' is for 1 operands; found 2"),
        ("aa,bc->a", "'aa' of 'aa,bc->a' is not a list of distinct letters"),
        ("...a,bc->a", r"'\.\.\.a' of .* is not a list of distinct letters"),
        ("ab,bc->d", "letters that no operand has"),
        ("abc,bc->a", r"'abc' has 3 letters for float32\[2, 3\]"),
    ],
)
def test_equations_that_are_refused(equation: str, detail: str) -> None:
    with pytest.raises(BiremeError, match=rf"BM1006 at .*test_einsum\.py:\d+.*{detail}"):
        F.einsum(equation, *operands(["ab", "bc"]))
