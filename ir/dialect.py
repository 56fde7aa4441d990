"""The `bireme` dialect in MLIR: ops named `bireme.*`, verified against the op table.

The op table, not MLIR, holds the ops' definitions. MLIR's own way to define ops from Python, IRDL,
gives all operands of a variadic group one type and has no optional attributes, so `concat`, `scan`,
`if` and fused kernels cannot be written in it; and one way for some ops and another for the rest
would be two ways. MLIR therefore sees the ops as unregistered, and `check` is the verifier of each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bireme.ir._mlir import ir
from bireme.ir.dims import parse
from bireme.ir.dtypes import BY_MLIR, DType
from bireme.ir.errors import BiremeError
from bireme.ir.opdef import Attr, AttrKind, OpDef, RegionType
from bireme.ir.ops import OPS
from bireme.ir.types import TensorType

PREFIX = "bireme."
TERMINATOR = "bireme.yield"


def new_context() -> ir.Context:
    """A context for one graph, so that its memory goes with the graph."""
    context = ir.Context()
    context.allow_unregistered_dialects = True
    context.enable_multithreading(False)
    return context


_TO_MLIR: dict[AttrKind, Callable[[Any], Any]] = {
    AttrKind.INT: lambda v: ir.IntegerAttr.get(ir.IntegerType.get_signless(64), v),
    AttrKind.FLOAT: lambda v: ir.FloatAttr.get_f64(v),
    AttrKind.BOOL: lambda v: ir.BoolAttr.get(v),
    AttrKind.STR: lambda v: ir.StringAttr.get(v),
    AttrKind.INTS: lambda v: ir.DenseI64ArrayAttr.get(list(v)),
    AttrKind.FLOATS: lambda v: ir.DenseF64ArrayAttr.get(list(v)),
    AttrKind.STRS: lambda v: ir.ArrayAttr.get([ir.StringAttr.get(s) for s in v]),
    AttrKind.DTYPE: lambda v: ir.TypeAttr.get(ir.Type.parse(v.mlir)),
    AttrKind.DIMS: lambda v: ir.ArrayAttr.get([ir.StringAttr.get(str(d)) for d in v]),
}

_FROM_MLIR: dict[AttrKind, Callable[[Any], Any]] = {
    AttrKind.INT: lambda a: int(ir.IntegerAttr(a).value),
    AttrKind.FLOAT: lambda a: float(ir.FloatAttr(a).value),
    AttrKind.BOOL: lambda a: bool(ir.BoolAttr(a).value),
    AttrKind.STR: lambda a: str(ir.StringAttr(a).value),
    AttrKind.INTS: lambda a: tuple(ir.DenseI64ArrayAttr(a)),
    AttrKind.FLOATS: lambda a: tuple(ir.DenseF64ArrayAttr(a)),
    AttrKind.STRS: lambda a: tuple(ir.StringAttr(s).value for s in ir.ArrayAttr(a)),
    AttrKind.DTYPE: lambda a: _dtype(ir.TypeAttr(a)),
    AttrKind.DIMS: lambda a: tuple(parse(ir.StringAttr(d).value) for d in ir.ArrayAttr(a)),
}


def _dtype(attr: ir.TypeAttr) -> DType:
    return BY_MLIR[str(attr.value)]


def write_attrs(definition: OpDef, attrs: dict[str, Any]) -> dict[str, ir.Attribute]:
    """Complete attributes → MLIR; those at their default are left out. Needs a current context."""
    return {
        a.name: _TO_MLIR[a.kind](attrs[a.name])
        for a in definition.attrs
        if attrs[a.name] is not None and attrs[a.name] != a.default
    }


def read_attrs(definition: OpDef, op: ir.Operation) -> dict[str, Any]:
    """MLIR → complete attributes. Raises BM2002."""
    found = {}
    known: dict[str, Attr] = {a.name: a for a in definition.attrs}
    for name in op.attributes:
        if name not in known:
            raise BiremeError("BM2002", f"{definition.name} has no attribute {name!r}")
        attribute = op.attributes[name]
        try:
            found[name] = _FROM_MLIR[known[name].kind](attribute)
        except (ValueError, KeyError):
            wanted = known[name].kind.value
            raise BiremeError(
                "BM2002", f"attribute {name!r} must be {wanted}; found {attribute}"
            ) from None
    return definition.complete(found)


def region_types(op: ir.Operation) -> tuple[RegionType, ...]:
    """Argument and yield types of an op's regions. Raises BM2005 for a region without a yield."""
    found = []
    for index, region in enumerate(op.regions):
        blocks = list(region.blocks)
        ops = list(blocks[0].operations) if len(blocks) == 1 else []
        if not ops or ops[-1].operation.name != TERMINATOR:
            raise BiremeError(
                "BM2005", f"region {index} must be one block that ends in {TERMINATOR}"
            )
        arguments = tuple(TensorType.from_mlir(a.type) for a in blocks[0].arguments)
        yields = tuple(TensorType.from_mlir(v.type) for v in ops[-1].operation.operands)
        found.append(RegionType(arguments, yields))
    return tuple(found)


def check(op: ir.Operation) -> None:
    """Raises a BiremeError unless `op` is what its definition says."""
    definition = OPS.get(op.name.removeprefix(PREFIX))
    if definition is None or not op.name.startswith(PREFIX):
        raise BiremeError("BM2008", f"{op.name} is not an op of the dialect")
    definition.check_regions(len(op.regions))
    attrs = read_attrs(definition, op)
    types = [TensorType.from_mlir(v.type) for v in op.operands]
    declared = [TensorType.from_mlir(r.type) for r in op.results]
    inferred = definition.result_types(types, attrs, region_types(op))
    if len(declared) != len(inferred) or not all(map(compatible, declared, inferred)):
        raise BiremeError(
            "BM2005", f"{definition.name}: expected {_list(inferred)}; declared {_list(declared)}"
        )


def compatible(a: TensorType, b: TensorType) -> bool:
    """Whether two types are equal, or differ only in sizes that run time decides."""
    return (
        a.dtype == b.dtype
        and a.rank == b.rank
        and all(x == y or not isinstance(x - y, int) for x, y in zip(a.shape, b.shape, strict=True))
    )


def _list(types: Sequence[TensorType]) -> str:
    return ", ".join(map(str, types)) or "no results"
