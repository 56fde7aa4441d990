"""A model as a graph: an MLIR module of the `bireme` dialect with its weights.

A `Graph` owns an MLIR module with one function `main`, a table of weights (the IR holds only their
names), and the ranges of its symbols.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bireme.ir._mlir import MLIRError, func, ir
from bireme.ir.dialect import new_context
from bireme.ir.dims import Dim, evaluate, symbols_of
from bireme.ir.errors import BiremeError
from bireme.ir.opdef import Array
from bireme.ir.types import TensorType
from bireme.ir.verifier import diagnostics, verify
from bireme.ir.views import Block, Op, Value, require_own

NAME = "bireme.name"
SYMBOLS = "bireme.symbols"

# Typical sizes of symbols that were declared without one.
_BATCH_HINT, _SIZE_HINT = 1, 64


@dataclass(frozen=True)
class SymbolRange:
    """Sizes a symbol may take, both ends inclusive; `most` None means no bound.

    `hint` is a typical size, brought into the range; where a range is declared without one,
    `Graph.symbols` chooses it. Raises BM6002 for a range without sizes.
    """

    least: int = 0
    most: int | None = None
    hint: int | None = None

    def __post_init__(self) -> None:
        if self.least < 0 or (self.most is not None and self.most < self.least):
            raise BiremeError("BM6002", f"no size lies between {self.least} and {self.most}")
        if self.hint is not None:
            most = self.hint if self.most is None else self.most
            object.__setattr__(self, "hint", max(self.least, min(self.hint, most)))

    @property
    def typical(self) -> int:
        """The hint, or the least size."""
        return self.least if self.hint is None else self.hint


class Graph:
    """A model in the `bireme` dialect with its weights. See the module's docstring."""

    def __init__(self, name: str = "main", *, _text: str | None = None) -> None:
        self.context = new_context()
        self.weights: dict[str, Array] = {}
        with self.context, ir.Location.unknown():
            if _text is None:
                self.module = ir.Module.create()
                with ir.InsertionPoint(self.module.body):
                    main = func.FuncOp("main", ([], []))
                    main.add_entry_block()
                self.module.operation.attributes["sym_name"] = ir.StringAttr.get(name)
            else:
                try:
                    self.module = ir.Module.parse(_text)
                except MLIRError as error:
                    raise BiremeError("BM2008", diagnostics(error)) from None

    # --- the function ---------------------------------------------------------------------------

    @property
    def name(self) -> str:
        attributes = self.module.operation.attributes
        return str(attributes["sym_name"].value) if "sym_name" in attributes else "main"

    @property
    def _main(self) -> Any:
        for op in self.module.body.operations:
            if op.operation.name == "func.func":
                return op
        raise BiremeError("BM2008", "the module has no function")

    @property
    def body(self) -> Block:
        return Block(self, self._main.regions[0].blocks[0])

    @property
    def inputs(self) -> list[Value]:
        return self.body.arguments

    @property
    def outputs(self) -> list[Value]:
        return self.body.yields

    @property
    def input_names(self) -> list[str]:
        return self._names_of("arg_attrs", len(self.inputs), "input")

    @property
    def output_names(self) -> list[str]:
        return self._names_of("res_attrs", len(self.outputs), "output")

    def _names_of(self, key: str, count: int, fallback: str) -> list[str]:
        attributes = self._main.operation.attributes
        entries = list(attributes[key]) if key in attributes else []
        try:
            names = [ir.StringAttr(e[NAME]).value if NAME in e else "" for e in entries]
        except ValueError:
            raise BiremeError("BM2008", f"{NAME} in {key} must be a string") from None
        names += [""] * (count - len(names))
        return [name or f"{fallback}{i}" for i, name in enumerate(names[:count])]

    def add_input(self, name: str, tensor: TensorType) -> Value:
        """Appends an input to the function. Raises BM2010 for a name in use."""
        if name in self.input_names:
            raise BiremeError("BM2010", f"the graph has an input {name!r} already")
        with self.context, ir.Location.name(name):
            names = [*self.input_names, name]
            argument = self.body.mlir.add_argument(tensor.to_mlir(), ir.Location.name(name))
            self._set_signature(arguments=names)
        return Value(self, argument)

    def set_outputs(self, outputs: Mapping[str, Value] | Sequence[tuple[str, Value]]) -> None:
        """Ends the function by returning these values; replaces an earlier end."""
        pairs = list(outputs.items()) if isinstance(outputs, Mapping) else list(outputs)
        require_own(self, [value for _, value in pairs])
        old = self.body.terminator
        if old is not None:
            old.mlir.erase()
        with self.context, ir.Location.unknown(), ir.InsertionPoint(self.body.mlir):
            func.ReturnOp([v.mlir for _, v in pairs])
            self._set_signature(results=[name for name, _ in pairs])

    def _set_signature(
        self, arguments: list[str] | None = None, results: list[str] | None = None
    ) -> None:
        main = self._main.operation
        argument_names = self.input_names if arguments is None else arguments
        result_names = self.output_names if results is None else results
        types = ([v.mlir.type for v in self.inputs], [v.mlir.type for v in self.outputs])
        main.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(*types))
        for key, names in (("arg_attrs", argument_names), ("res_attrs", result_names)):
            entries = [ir.DictAttr.get({NAME: ir.StringAttr.get(n)}) for n in names]
            main.attributes[key] = ir.ArrayAttr.get(entries)

    def refresh_signature(self) -> None:
        """Brings the function's declared result types in line with what it returns."""
        with self.context, ir.Location.unknown():
            self._set_signature()

    # --- symbols and weights --------------------------------------------------------------------

    @property
    def symbols(self) -> dict[str, SymbolRange]:
        """Range of every symbol that the inputs use, each with a hint.

        Where none was declared it is 1 for a leading axis, as of a batch, and 64 for others.
        """
        declared = self.declared_symbols
        types = [v.type for v in self.inputs]
        leading = set().union(*(symbols_of(t.shape[0]) for t in types if t.rank))
        found = {}
        for name in sorted(set().union(*(t.symbols for t in types))):
            sizes = declared.get(name, SymbolRange())
            typical = _BATCH_HINT if name in leading else _SIZE_HINT
            hint = typical if sizes.hint is None else sizes.hint
            found[name] = SymbolRange(sizes.least, sizes.most, hint)
        return found

    @property
    def data_symbols(self) -> dict[str, Dim]:
        """Every symbol that an op binds while the model runs, in program order, and its bound."""
        return {name: most for op in self.walk() for name, most in op.binds.items()}

    @property
    def data_equalities(self) -> list[tuple[Dim, Dim]]:
        """Pairs of sizes that a `bind` has found to be equal."""
        pairs = [op.attrs["equal"] for op in self.walk() if op.name == "bind"]
        return [pair for each in pairs for pair in zip(each[::2], each[1::2], strict=True)]

    @property
    def all_symbols(self) -> dict[str, SymbolRange]:
        """`symbols`, then `data_symbols`; hints of the latter are those of their bounds."""
        found = self.symbols
        declared = self.declared_symbols
        for name, bound in self.data_symbols.items():
            sizes = declared.get(name, SymbolRange())
            typical = evaluate(bound, {n: r.typical for n, r in found.items()})
            found[name] = SymbolRange(
                sizes.least, sizes.most, typical if sizes.hint is None else sizes.hint
            )
        return found

    @property
    def declared_symbols(self) -> dict[str, SymbolRange]:
        """Range of every symbol that was declared, used by an input or not."""
        attributes = self.module.operation.attributes
        declared = {}
        if SYMBOLS in attributes:
            try:
                for entry in ir.DictAttr(attributes[SYMBOLS]):
                    least, most, hint = ir.DenseI64ArrayAttr(entry.attr)
                    declared[entry.name] = SymbolRange(
                        least, most if most >= 0 else None, hint if hint >= 0 else None
                    )
            except ValueError:
                detail = f"{SYMBOLS} must give each symbol its least size, most (-1: none) and hint"
                raise BiremeError("BM2008", detail) from None
        return declared

    def set_symbol(self, name: str, sizes: SymbolRange) -> None:
        """Declares the range of a symbol."""
        table = {**self.declared_symbols, name: sizes}
        with self.context:
            self.module.operation.attributes[SYMBOLS] = ir.DictAttr.get(
                {
                    key: ir.DenseI64ArrayAttr.get(
                        [r.least, *(-1 if size is None else size for size in (r.most, r.hint))]
                    )
                    for key, r in table.items()
                }
            )

    def weight(self, name: str, tensor: TensorType) -> Array:
        """The array of a named weight. Raises BM2009 when it is missing or of another type."""
        array = self.weights.get(name)
        if array is None:
            raise BiremeError("BM2009", "the weight table has no such name", where=name)
        if array.dtype != tensor.dtype.numpy or array.shape != tensor.shape:
            found = f"{array.dtype}{list(array.shape)}"
            raise BiremeError("BM2009", f"expected {tensor}; found {found}", where=name)
        return array

    def add_weight(self, array: Array, name: str = "") -> str:
        """Puts an array (not copied) in the weight table under a free name; gives that name."""
        stem = name or "constant"
        free, number = stem, 0
        while free in self.weights and self.weights[free] is not array:
            number += 1
            free = f"{stem}.{number}"
        self.weights[free] = array
        return free

    # --- whole-graph operations -----------------------------------------------------------------

    def walk(self) -> Iterator[Op]:
        """Every op in every region, outer before inner, terminators left out."""
        stack = list(reversed(self.body.ops))
        while stack:
            op = stack.pop()
            yield op
            for block in reversed(op.blocks):
                stack.extend(reversed(block.ops))

    def verify(self) -> None:
        """Raises the only fault, or BM2005 with all of them; see `bireme.ir.verifier`."""
        verify(self)

    def text(self, *, locations: bool = False) -> str:
        """The module as MLIR text, without weights."""
        return str(self.module.operation.get_asm(enable_debug_info=locations))

    @staticmethod
    def parse(text: str, weights: Mapping[str, Array] | None = None) -> Graph:
        """Reads what `text` gave. Raises BM2008 with line and column."""
        graph = Graph(_text=text)
        graph.weights = dict(weights or {})
        graph.verify()
        return graph

    def clone(self) -> Graph:
        """A copy that shares the weights' arrays."""
        return Graph.parse(self.text(locations=True), self.weights)
