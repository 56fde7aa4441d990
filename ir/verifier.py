"""What makes a graph valid, beyond what MLIR itself checks.

* The module holds one function of one block, which ends in `func.return`.
* Names of inputs, and of outputs, are distinct.
* Every op is what its definition says (`dialect.check`).
* Every constant has its array.
* A `kernel` reads only its own arguments.
* Every symbol occurs in the shape of an input, or is bound by one `prefix` or `bind` that stands
  before all ops that use it, in their block or one around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bireme.ir._mlir import MLIRError
from bireme.ir.dialect import check
from bireme.ir.dims import symbols_of
from bireme.ir.errors import BiremeError
from bireme.ir.opdef import AttrKind
from bireme.ir.types import TensorType

if TYPE_CHECKING:
    from bireme.ir.graph import Graph
    from bireme.ir.views import Block, Op, Value


def verify(graph: Graph) -> None:
    """Raises the only fault, or BM2005 with all of them when there are several."""
    _check_function(graph)
    try:
        graph.module.operation.verify()
    except MLIRError as error:
        raise BiremeError("BM2005", diagnostics(error)) from None
    _check_names(graph.input_names, "inputs")
    _check_names(graph.output_names, "outputs")
    graph.declared_symbols  # noqa: B018 - raises when the table cannot be read
    faults = list(_op_faults(graph))
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise BiremeError("BM2005", "\n".join(map(str, faults)))


def _check_function(graph: Graph) -> None:
    functions = list(graph.module.body.operations)
    kinds = [op.operation.name for op in functions]
    if kinds[:1] == ["func.func"] and "builtin.module" in kinds:
        raise BiremeError("BM2005", "a block was made for a region that no op has")
    if kinds != ["func.func"]:
        found = ", ".join(kinds) or "nothing"
        raise BiremeError("BM2008", f"a module holds one func.func; found {found}")
    blocks = list(functions[0].regions[0].blocks)
    if len(blocks) != 1:
        raise BiremeError("BM2008", f"the function must be one block; found {len(blocks)}")
    end = graph.body.terminator
    if end is None or end.name != "return":
        raise BiremeError("BM2008", "the function must end in func.return")


def _check_names(names: Sequence[str], what: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BiremeError("BM2010", f"{what} share the name {', '.join(map(repr, twice))}")


def _op_faults(graph: Graph) -> Iterator[BiremeError]:
    symbols = _Symbols(graph)
    for op, bound in _with_bound_symbols(graph.body, frozenset()):
        try:
            check(op.mlir)
            symbols.check(op, bound)
            if op.name == "constant":
                graph.weight(op.attrs["name"], op.result.type)
            if op.name == "kernel":
                _check_isolated(op)
        except BiremeError as error:
            yield error.at(op.node or op.name)


def _with_bound_symbols(block: Block, bound: frozenset[str]) -> Iterator[tuple[Op, frozenset[str]]]:
    """Every op, outer before inner, with the symbols that are bound before it."""
    for op in block.ops:
        yield op, bound
        for inner in op.blocks:
            yield from _with_bound_symbols(inner, bound)
        bound |= op.binds.keys()


def _check_isolated(kernel: Op) -> None:
    """Everything read inside is defined inside."""
    own: set[Value] = set()
    read: list[Value] = []
    blocks = kernel.blocks
    while blocks:
        block = blocks.pop()
        own.update(block.arguments)
        read += block.yields
        for op in block.ops:
            own.update(op.results)
            read += op.operands
            blocks += op.blocks
    for value in read:
        if value not in own:
            detail = f"the kernel reads {value.label}, which is not one of its arguments"
            raise BiremeError("BM2005", detail)


class _Symbols:
    """Checks that ops use only symbols of the inputs, symbols declared with a range, or symbols
    that are bound before them.

    Looks at every distinct type once. A kernel without inputs declares what it takes as numbers.
    """

    def __init__(self, graph: Graph) -> None:
        inputs = set[str]().union(*(v.type.symbols for v in graph.inputs))
        self._data = set(graph.data_symbols)
        self._known = inputs | (set(graph.declared_symbols) - self._data)
        self._taken = inputs
        self._seen: set[TensorType] = set()

    def check(self, op: Op, bound: frozenset[str]) -> None:
        for name in op.binds:
            if name in self._taken:
                raise BiremeError("BM2011", f"{name} has a value already")
            self._taken.add(name)
            bound |= {name}
        for value in op.results:
            if value.type not in self._seen or self._data:
                self._require(value.type.symbols, str(value.type), bound)
                self._seen.add(value.type)
        for attr in op.definition.attrs:
            if attr.kind is AttrKind.DIMS:
                for dim in op.attrs[attr.name]:
                    self._require(symbols_of(dim), f"attribute {attr.name!r}", bound)

    def _require(self, names: set[str], place: str, bound: frozenset[str]) -> None:
        late = sorted((names & self._data) - bound)
        if late:
            detail = f"{place} uses {', '.join(late)} where it has no value"
            raise BiremeError("BM2011", detail)
        unknown = sorted(names - self._known - bound)
        if unknown:
            known = ", ".join(sorted(self._known)) or "none"
            detail = f"{place} uses {', '.join(unknown)}; symbols of the inputs: {known}"
            raise BiremeError("BM2007", detail)


def diagnostics(error: Any) -> str:
    """MLIR's complaints, each with its place."""
    lines = [f"{d.location}: {d.message}" for d in error.error_diagnostics]
    return "\n".join(lines) or str(error)
