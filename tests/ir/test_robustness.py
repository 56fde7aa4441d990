"""Wrong operands and attributes are answered with a BiremeError, never another exception."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from bireme.ir import OPS, Array, BiremeError, DimExpr, DType, TensorType, symbol
from bireme.ir.opdef import AttrKind
from bireme.ir.reference import run_op
from tests.ir.cases import CASES, Case

_EXTRA_SIZES = (0, 1, 2, 3, 7, symbol("n"), symbol("n") - 1)
_VALUES: dict[AttrKind, tuple[Any, ...]] = {
    AttrKind.INT: (-(1 << 40), -3, -1, 0, 1, 2, 5, 1 << 40),
    AttrKind.FLOAT: (-1.0, 0.0, float("nan"), float("inf")),
    AttrKind.BOOL: (True, False),
    AttrKind.STR: ("", "nonsense", "linear"),
    AttrKind.INTS: ((), (0,), (-1,), (1, 1), (0, 0, 0, 0), (2, 1, 0), (1 << 40, 1)),
    AttrKind.FLOATS: ((), (0.0,), (-1.0, 2.0), (1.0,) * 8),
    AttrKind.STRS: ((), ("tanh",), ("nonsense",) * 3),
    AttrKind.DTYPE: tuple(DType),
    AttrKind.DIMS: ((), (0,), (-1,), (1, 1), (2, 3, 4), (symbol("n"),), (symbol("n"), 0)),
}


def mutated_types(types: list[TensorType], draw: random.Random) -> list[TensorType]:
    """One operand with an axis more, less or resized, of another type, missing, or doubled."""
    if not types:
        return [TensorType(DType.F32, (2,))]
    which = draw.randrange(len(types))
    tensor = types[which]
    shape = list(tensor.shape)
    place = draw.randrange(len(shape) + 1)
    match draw.randrange(6):
        case 0:
            shape.insert(place, draw.choice(_EXTRA_SIZES))
        case 1:
            del shape[place : place + 1]
        case 2 if place < len(shape):
            shape[place] = draw.choice(_EXTRA_SIZES)
        case 3:
            tensor = tensor.with_dtype(draw.choice(list(DType)))
        case 4:
            return types[:which] + types[which + 1 :]
        case _:
            return [*types, tensor]
    return [*types[:which], tensor.with_shape(shape), *types[which + 1 :]]


def mutations(case: Case, count: int) -> Iterator[tuple[list[TensorType], dict[str, Any]]]:
    draw = random.Random(case.label)
    definition = OPS[case.op]
    for _ in range(count):
        types = [TensorType(DType.of(x), x.shape) for x in case.inputs]
        attrs = definition.complete(case.attrs)
        for _ in range(draw.randint(1, 2)):
            if definition.attrs and draw.random() < 0.5:
                attr = draw.choice(definition.attrs)
                attrs[attr.name] = draw.choice(_VALUES[attr.kind])
            else:
                types = mutated_types(types, draw)
        yield types, attrs


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.label)
def test_type_rules_fail_only_with_bireme_errors(case: Case) -> None:
    definition = OPS[case.op]
    codes: set[str] = set()
    for types, attrs in mutations(case, 60):
        try:
            results = definition.result_types(types, attrs)
        except BiremeError as error:
            codes.add(error.code)
            continue
        for result in results:
            assert all(not isinstance(d, int) or d >= 0 for d in result.shape), (types, attrs)
    assert codes
    assert codes <= {"BM1006", "BM1007", "BM2001", "BM2003", "BM2004"}


def data(tensor: TensorType) -> Array:
    """Small numbers, among them indices that exist and some that do not."""
    draw = np.random.default_rng(len(tensor.shape))
    return draw.integers(-2, 4, tensor.static_shape).astype(tensor.dtype.numpy)


def modest(attrs: dict[str, Any]) -> bool:
    """Whether no attribute is a symbol, or asks for a result, or work, of absurd size."""
    numbers = (n for v in attrs.values() for n in (v if isinstance(v, tuple) else (v,)))
    return all(
        abs(n) < 1000 if isinstance(n, int | float) else not isinstance(n, DimExpr) for n in numbers
    )


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.label)
def test_references_fail_only_with_bireme_errors(case: Case) -> None:
    definition = OPS[case.op]
    for types, attrs in mutations(case, 40):
        try:
            expected = definition.result_types(types, attrs)
        except BiremeError:
            continue
        if not modest(attrs) or not all(t.is_static for t in (*types, *expected)):
            continue
        try:
            results = run_op(case.op, [data(t) for t in types], attrs)
        except BiremeError as error:
            if error.code != "BM6003":
                raise
            continue
        found = tuple(TensorType(DType.of(x), x.shape) for x in results)
        assert found == expected, (types, attrs)
