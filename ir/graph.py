"""A model as a graph: thin Python views over an MLIR module of the `bireme` dialect.

A `Graph` owns an MLIR module with one function `main`, a table of weights (the IR holds only their
names), and the ranges of its symbols. `Op`, `Value` and `Block` are views without state: make as
many as you like.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bireme.ir._mlir import MLIRError, func, ir
from bireme.ir.dialect import PREFIX, TERMINATOR, new_context, read_attrs, region_types
from bireme.ir.dims import symbols_of
from bireme.ir.errors import BiremeError
from bireme.ir.opdef import Array, Constraint, OpDef
from bireme.ir.ops import OPS
from bireme.ir.types import TensorType
from bireme.ir.verifier import diagnostics, verify

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


@dataclass(frozen=True)
class Value:
    """A tensor in the graph: a result of an op, or an argument of a block."""

    graph: Graph
    mlir: Any

    @property
    def type(self) -> TensorType:
        return TensorType.from_mlir(self.mlir.type)

    @property
    def owner(self) -> Op | None:
        """The op that makes it, or None for a block argument."""
        if isinstance(self.mlir, ir.BlockArgument):
            return None
        return Op(self.graph, self.mlir.owner.operation)

    @property
    def index(self) -> int:
        """Which result of its owner, or which argument of its block."""
        if isinstance(self.mlir, ir.BlockArgument):
            return int(self.mlir.arg_number)
        return int(self.mlir.result_number)

    @property
    def uses(self) -> list[tuple[Op, int]]:
        """Every (op, operand number) that reads it, terminators included."""
        return [(Op(self.graph, u.owner.operation), u.operand_number) for u in self.mlir.uses]

    @property
    def label(self) -> str:
        """A name for messages: the node that makes it, or the input's own name."""
        owner = self.owner
        if owner is not None:
            return owner.node or owner.name
        names = self.graph.input_names
        block = Block(self.graph, self.mlir.owner)
        return names[self.index] if block == self.graph.body else f"argument {self.index}"

    @property
    def constant(self) -> Array | None:
        """Its data when it is a constant, else None. The array must not be written to."""
        owner = self.owner
        if owner is None or owner.name != "constant":
            return None
        return self.graph.weight(owner.attrs["name"], self.type)

    def replace_with(self, other: Value) -> None:
        """Makes every use read `other` instead."""
        require_own(self.graph, [other])
        self.mlir.replace_all_uses_with(other.mlir)


@dataclass(frozen=True)
class Op:
    """One op of the graph."""

    graph: Graph
    mlir: Any

    def __hash__(self) -> int:
        """By identity, like equality. MLIR's own hash is of the contents and changes with them."""
        results = self.mlir.results
        return hash(results[0]) if len(results) else hash(self.mlir.name)

    @property
    def name(self) -> str:
        """Name in the op table (`conv`), or `yield` / `return` for a terminator."""
        name: str = self.mlir.name
        return "return" if name == "func.return" else name.removeprefix(PREFIX)

    @property
    def is_terminator(self) -> bool:
        return self.mlir.name in (TERMINATOR, "func.return")

    @property
    def definition(self) -> OpDef:
        return OPS[self.name]

    @property
    def operands(self) -> list[Value]:
        return [Value(self.graph, v) for v in self.mlir.operands]

    @property
    def results(self) -> list[Value]:
        return [Value(self.graph, v) for v in self.mlir.results]

    @property
    def result(self) -> Value:
        (only,) = self.results
        return only

    @property
    def attrs(self) -> dict[str, Any]:
        """All attributes, defaults included, as Python values."""
        return read_attrs(self.definition, self.mlir)

    @property
    def blocks(self) -> list[Block]:
        """The block of each region; the verifier refuses regions with none or several."""
        return [
            Block(self.graph, region.blocks[0])
            for region in self.mlir.regions
            if len(region.blocks) > 0
        ]

    @property
    def block(self) -> Block:
        """The block it stands in."""
        return Block(self.graph, self.mlir.block)

    @property
    def parent(self) -> Op | None:
        """The region op it stands in, or None at the top."""
        parent = self.mlir.parent
        if parent is None or not parent.operation.name.startswith(PREFIX):
            return None
        return Op(self.graph, parent.operation)

    @property
    def location(self) -> Any:
        """MLIR source location; give it to ops that replace this one."""
        return self.mlir.location

    @property
    def node(self) -> str:
        """The model's own name for the place: ONNX nodes, or Python file:line; may be empty."""
        return ", ".join(location_names(self.mlir.location))

    @property
    def constraints(self) -> list[Constraint]:
        """What its type rule assumes about sizes that only run time knows."""
        found: list[Constraint] = []
        types = [v.type for v in self.operands]
        self.definition.result_types(types, self.attrs, region_types(self.mlir), found)
        return found

    def set_operand(self, index: int, value: Value) -> None:
        require_own(self.graph, [value])
        self.mlir.operands[index] = value.mlir

    def erase(self) -> None:
        """Removes it.

        Raises BM2005 when a result is still used (MLIR's release build would not).
        """
        used = [v for v in self.results if v.uses]
        if used:
            raise BiremeError("BM2005", f"{self.name} is erased but still used", where=self.node)
        self.mlir.erase()

    def replace_with(self, values: Sequence[Value]) -> None:
        """Makes every use of its results read `values`, then removes it."""
        for old, new in zip(self.results, values, strict=True):
            old.replace_with(new)
        self.erase()

    def move_before(self, other: Op) -> None:
        self.mlir.move_before(other.mlir)

    def is_before(self, other: Op) -> bool:
        """Whether it stands earlier in the same block."""
        return bool(self.mlir.is_before_in_block(other.mlir))

    def __str__(self) -> str:
        return str(self.mlir)


@dataclass(frozen=True)
class Block:
    """Arguments and ops of a region, in order."""

    graph: Graph
    mlir: Any

    @property
    def arguments(self) -> list[Value]:
        return [Value(self.graph, a) for a in self.mlir.arguments]

    @property
    def ops(self) -> list[Op]:
        """Ops without the terminator, as a list of its own: the block may change meanwhile."""
        ops = [Op(self.graph, op.operation) for op in self.mlir.operations]
        return ops[:-1] if ops and ops[-1].is_terminator else ops

    @property
    def terminator(self) -> Op | None:
        ops = self.mlir.operations
        # The list indexes in MLIR's own code: far cheaper than a Python list of all ops.
        last = Op(self.graph, ops[-1].operation) if len(ops) else None
        return last if last is not None and last.is_terminator else None

    @property
    def yields(self) -> list[Value]:
        """What the terminator passes out."""
        terminator = self.terminator
        return terminator.operands if terminator else []


def require_own(graph: Graph, values: Sequence[Value]) -> None:
    """Raises BM2005 for a value of another graph, which would corrupt both."""
    for index, value in enumerate(values):
        if value.graph is not graph:
            raise BiremeError("BM2005", f"value {index}, {value.label}, belongs to another graph")


def location_names(location: Any) -> list[str]:
    """Names in a source location, each once, in order."""
    if isinstance(location, ir.NameLoc):
        return [location.name_str]
    if isinstance(location, ir.FusedLoc):
        return list(dict.fromkeys(n for part in location.locations for n in location_names(part)))
    if isinstance(location, ir.FileLineColLoc):
        return [f"{location.filename}:{location.start_line}"]
    return []


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
