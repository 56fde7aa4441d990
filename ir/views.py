"""Values, ops and blocks of a graph: thin views over MLIR's own, without state.

Make as many as you like: two views of one thing are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bireme.ir._mlir import ir
from bireme.ir.dialect import PREFIX, TERMINATOR, read_attrs, region_types
from bireme.ir.dims import Dim
from bireme.ir.errors import BiremeError
from bireme.ir.opdef import Array, Constraint, OpDef
from bireme.ir.ops import OPS
from bireme.ir.types import TensorType

if TYPE_CHECKING:
    from bireme.ir.graph import Graph


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
    def members(self) -> list[Op]:
        """The ops of a kernel, or else the op itself; constants left out."""
        if self.name == "kernel":
            return self.blocks[0].members
        return [] if self.name == "constant" else [self]

    @property
    def parent(self) -> Op | None:
        """The region op it stands in, or None at the top."""
        parent = self.mlir.parent
        if parent is None or not parent.operation.name.startswith(PREFIX):
            return None
        return Op(self.graph, parent.operation)

    @property
    def binds(self) -> dict[str, Dim]:
        """Sizes that the op reads from the data, and the most that each can be."""
        if self.name == "prefix":
            return {self.attrs["symbol"]: self.operands[0].type.shape[0]}
        if self.name == "bind":
            attrs = self.attrs
            return dict(zip(attrs["symbols"], attrs["most"], strict=True))
        return {}

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
    def members(self) -> list[Op]:
        """Ops without constants and the terminator."""
        return [op for op in self.ops if op.name != "constant"]

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
