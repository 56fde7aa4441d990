"""How an op of the dialect is defined: once, as data.

An `OpDef` says all that the op *is*: operands, attributes, type rule, NumPy reference, fusion kind
and documentation. What other rooms do with it (lowering, layout, ONNX mapping, ...) are tables of
theirs, keyed by the op's name.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

import numpy as np

from bireme.ir.dims import Dim, DimExpr, symbols_of
from bireme.ir.dtypes import ANY, DType
from bireme.ir.errors import BiremeError, counted
from bireme.ir.types import TensorType

Array = np.ndarray[Any, Any]
Attrs = Mapping[str, Any]


class Fusion(Enum):
    """How a result element depends on the operands; decides what may join a kernel."""

    POINTWISE = "pointwise"  # element i of the (broadcast) operands
    INJECTIVE = "injective"  # one element of an operand at a computed index
    VIEW = "view"  # same elements in the same order: no work, only a new shape
    REDUCTION = "reduction"  # many elements of one operand along axes
    CONTRACTION = "contraction"  # sums of products: matmul, convolution
    OPAQUE = "opaque"  # a kernel of its own
    CONSTANT = "constant"  # no operands
    CONTROL = "control"  # holds regions
    SIZE = "size"  # part of an operand, of a size that another operand gives
    STATE = "state"  # of the session: another result at each execution, never merged or folded


class AttrKind(Enum):
    """Type of an attribute: how it looks in Python and in MLIR text."""

    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    STR = "str"
    INTS = "ints"  # tuple of int
    FLOATS = "floats"  # tuple of float
    STRS = "strs"  # tuple of str
    DTYPE = "dtype"  # DType
    DIMS = "dims"  # tuple of Dim


REQUIRED: Any = object()


@dataclass(frozen=True)
class Attr:
    """An attribute: its kind, its default (REQUIRED when there is none), what it means."""

    name: str
    kind: AttrKind
    default: Any = REQUIRED
    doc: str = ""


@dataclass(frozen=True)
class Operand:
    """An operand and the element types it takes: all of them, for ops that only move elements, also
    the narrow ones that nothing calculates with.

    Only trailing operands may be optional or variadic.
    """

    name: str
    dtypes: tuple[DType, ...] = ANY
    optional: bool = False
    variadic: bool = False


@dataclass(frozen=True)
class RegionType:
    """What a type rule sees of a region: types of its block's arguments and of what it yields."""

    arguments: tuple[TensorType, ...]
    yields: tuple[TensorType, ...]


@dataclass(frozen=True)
class Constraint:
    """Two sizes that must be equal although nothing proves it before run time."""

    a: Dim
    b: Dim


@dataclass
class Typing:
    """What a type rule is given, and where it notes what only run time can check."""

    types: Sequence[TensorType]
    attrs: Attrs
    regions: Sequence[RegionType] = ()
    constraints: list[Constraint] = field(default_factory=list)

    def fail(self, detail: str, code: str = "BM2004") -> BiremeError:
        """The error to raise when types do not fit; the caller adds the place."""
        return BiremeError(code, detail)

    def same(self, a: Dim, b: Dim, what: str) -> Dim:
        """One of two sizes that must be equal; notes a constraint when that is not certain."""
        if a == b:
            return a
        difference = a - b
        if isinstance(difference, int):
            raise self.fail(f"{what}: {a} and {b} differ")
        self.constraints.append(Constraint(a, b))
        return min((a, b), key=lambda d: (len(symbols_of(d)), len(str(d))))

    def broadcast(self, *shapes: tuple[Dim, ...]) -> tuple[Dim, ...]:
        """NumPy broadcasting. A size that is not known to be 1 is taken to equal the other one."""
        rank = max((len(s) for s in shapes), default=0)
        result: list[Dim] = [1] * rank
        for shape in shapes:
            for axis, size in enumerate(shape, rank - len(shape)):
                if result[axis] == 1:
                    result[axis] = size
                elif size != 1:
                    result[axis] = self.same(result[axis], size, f"broadcast of axis {axis}")
        return tuple(result)

    def axis(self, axis: int, rank: int, what: str = "axis") -> int:
        """A non-negative axis below `rank`."""
        if not -rank <= axis < rank:
            raise self.fail(f"{what} {axis} is outside [{-rank}, {rank})", "BM1006")
        return axis % rank

    def axes(self, axes: Sequence[int], rank: int) -> tuple[int, ...]:
        """Non-negative, sorted, distinct axes."""
        found = sorted(self.axis(a, rank, "axes entry") for a in axes)
        if len(set(found)) != len(found):
            raise self.fail(f"axes {tuple(axes)} repeat an axis", "BM1006")
        return tuple(found)


class Region(Protocol):
    """A region as the reference of an op sees it: a function, and the types of what it yields."""

    @property
    def yields(self) -> Sequence[TensorType]:
        """Types without symbols."""
        ...

    def __call__(self, *inputs: Array) -> Sequence[Array]: ...


TypeRule = Callable[[Typing], Sequence[TensorType]]
# (operands, attributes with every Dim a number, region functions) -> results
Reference = Callable[..., Sequence[Array]]


@dataclass(frozen=True)
class OpDef:
    """One op of the dialect.

    `infer` gives the result types or raises; the verifier calls it too. `reference` is the op's
    specification: `reference(inputs, attrs)` on NumPy arrays, or for ops with regions
    `reference(inputs, attrs, regions)`. It may return views of its inputs and never writes to them.
    """

    name: str
    operands: tuple[Operand, ...]
    attrs: tuple[Attr, ...]
    infer: TypeRule
    reference: Reference
    fusion: Fusion
    doc: str
    regions: int = 0
    commutative: bool = False

    @property
    def least_operands(self) -> int:
        return sum(not (o.optional or o.variadic) for o in self.operands)

    @property
    def most_operands(self) -> int | None:
        """None when the last operand repeats."""
        return None if any(o.variadic for o in self.operands) else len(self.operands)

    def operand(self, index: int) -> Operand:
        """The definition of operand number `index`, counting a variadic one as often as needed."""
        return self.operands[min(index, len(self.operands) - 1)]

    def complete(self, attrs: Attrs) -> dict[str, Any]:
        """`attrs` with defaults filled in. Raises BM2002 for missing or unknown ones."""
        known = {a.name: a for a in self.attrs}
        for name in attrs:
            if name not in known:
                raise BiremeError("BM2002", f"{self.name} has no attribute {name!r}")
        full = {}
        for name, attr in known.items():
            value = attrs.get(name, attr.default)
            if value is REQUIRED:
                raise BiremeError("BM2002", f"{self.name} needs attribute {name!r}")
            full[name] = normal_value(attr, value)
        return full

    def check_regions(self, count: int) -> None:
        """Raises BM2001 unless an op with `count` regions can be one of these."""
        if count != self.regions:
            raise BiremeError(
                "BM2001", f"{self.name} has {counted(self.regions, 'region')}; found {count}"
            )

    def result_types(
        self,
        types: Sequence[TensorType],
        attrs: Attrs,
        regions: Sequence[RegionType] = (),
        constraints: list[Constraint] | None = None,
    ) -> tuple[TensorType, ...]:
        """Types of the results; `attrs` must be complete. Appends to `constraints` when given."""
        self.check_regions(len(regions))
        least, most = self.least_operands, self.most_operands
        if len(types) < least or (most is not None and len(types) > most):
            wanted = counted(least, "operand")
            if most != least:
                wanted = f"{least} to {'any number of' if most is None else most} operands"
            raise BiremeError("BM2001", f"{self.name} takes {wanted}; found {len(types)}")
        for index, tensor in enumerate(types):
            operand = self.operand(index)
            if tensor.dtype not in operand.dtypes:
                wanted = ", ".join(t.label for t in operand.dtypes)
                raise BiremeError(
                    "BM2003", f"{self.name} operand {operand.name!r} takes {wanted}; found {tensor}"
                )
        typing = Typing(types, attrs, regions, constraints if constraints is not None else [])
        return tuple(self.infer(typing))


def _bool(value: Any) -> bool:
    if isinstance(value, bool | np.bool_) or operator.index(value) in (0, 1):
        return bool(value)
    raise ValueError(value)


def _float(value: Any) -> float:
    if isinstance(value, str):
        raise TypeError(value)
    return float(value)


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return str(value)


def _int(value: Any) -> int:
    number = operator.index(value)
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError(value)
    return number


def _dim(value: Any) -> Dim:
    return value if isinstance(value, DimExpr) else _int(value)


_PYTHON: dict[AttrKind, Callable[[Any], Any]] = {
    AttrKind.INT: _int,
    AttrKind.FLOAT: _float,
    AttrKind.BOOL: _bool,
    AttrKind.STR: _str,
    AttrKind.INTS: lambda v: tuple(map(_int, v)),
    AttrKind.FLOATS: lambda v: tuple(map(_float, v)),
    AttrKind.STRS: lambda v: tuple(map(_str, v)),
    AttrKind.DTYPE: DType.of,
    AttrKind.DIMS: lambda v: tuple(map(_dim, v)),
}


def normal_value(attr: Attr, value: Any) -> Any:
    """`value` as the Python type of the attribute's kind; a default of None stays None."""
    if value is None and attr.default is None:
        return None
    try:
        return _PYTHON[attr.kind](value)
    except (TypeError, ValueError):
        raise BiremeError(
            "BM2002", f"attribute {attr.name!r} must be {attr.kind.value}; found {value!r}"
        ) from None
