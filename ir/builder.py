"""Making ops: result types come from the op table, locations from the place in the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bireme.ir._mlir import ir
from bireme.ir.dialect import PREFIX, TERMINATOR, write_attrs
from bireme.ir.dtypes import DType
from bireme.ir.errors import BiremeError
from bireme.ir.graph import Graph
from bireme.ir.opdef import RegionType
from bireme.ir.ops import OPS
from bireme.ir.types import TensorType
from bireme.ir.views import Block, Op, Value, location_names, require_own


class Builder:
    """Makes ops at one place of a graph. Ops of the table are methods: `b.add(x, y)`."""

    def __init__(
        self, graph: Graph, *, block: Block | None = None, before: Op | None = None, node: str = ""
    ) -> None:
        self.graph = graph
        self._block = block or (before.block if before else graph.body)
        self._before = before
        self._location: Any = before.location if before is not None else None
        if node:
            self.at(node)

    def at(self, node: str | Op | Sequence[Op]) -> Builder:
        """Sets the source of the ops made from here on: a node's name, or ops they replace."""
        with self.graph.context:
            if isinstance(node, str):
                self._location = ir.Location.name(node) if node else ir.Location.unknown()
            elif isinstance(node, Op):
                self._location = node.location
            else:
                self._location = ir.Location.fused([op.location for op in node])
        return self

    def op(
        self, name: str, operands: Sequence[Value], /, regions: Sequence[Block] = (), **attrs: Any
    ) -> Op:
        """Makes op `name`; result types come from its type rule. `regions` are detached blocks."""
        definition = OPS[name]
        with self.graph.context:
            location = self._location or ir.Location.unknown()
        try:
            require_own(self.graph, operands)
            complete = definition.complete(attrs)
            kinds = tuple(_region_type(b) for b in regions)
            types = definition.result_types([v.type for v in operands], complete, kinds)
        except BiremeError as error:
            for block in regions:
                block.mlir.owner.operation.erase()
            raise error.at(", ".join(location_names(location))) from None
        with self.graph.context, location:
            made = ir.Operation.create(
                PREFIX + name,
                results=[t.to_mlir() for t in types],
                operands=[v.mlir for v in operands],
                attributes=write_attrs(definition, complete),
                regions=len(regions),
                ip=self._point(),
            )
            for region, block in zip(made.regions, regions, strict=True):
                holder = block.mlir.owner
                block.mlir.append_to(region)
                holder.operation.erase()
        return Op(self.graph, made)

    def _point(self) -> Any:
        if self._before is not None:
            return ir.InsertionPoint(self._before.mlir)
        terminator = self._block.terminator
        if terminator is not None:
            return ir.InsertionPoint(terminator.mlir)
        return ir.InsertionPoint(self._block.mlir)

    def constant(self, value: Any, name: str = "") -> Value:
        """A constant holding `value` (an array, kept without a copy)."""
        array = np.asarray(value)
        dtype = TensorType(DType.of(array), array.shape)
        key = self.graph.add_weight(array, name)
        return self.op("constant", [], name=key, dtype=dtype.dtype, shape=dtype.shape).result

    def block(self, arguments: Sequence[TensorType] = ()) -> Block:
        """A detached block for a region: fill it with a Builder and end it with `yield_`."""
        with self.graph.context, ir.Location.unknown():
            # The block lives in a scratch op until `op` moves it into its region. The module owns
            # that op: one of its own could outlive the values that the block reads.
            scratch = ir.Operation.create(
                "builtin.module", regions=1, ip=ir.InsertionPoint(self.graph.module.body)
            )
            block = scratch.regions[0].blocks.append(*[t.to_mlir() for t in arguments])
        return Block(self.graph, block)

    def yield_(self, values: Sequence[Value]) -> None:
        """Ends the builder's block."""
        require_own(self.graph, values)
        with self.graph.context, ir.Location.unknown():
            ir.Operation.create(
                TERMINATOR,
                operands=[v.mlir for v in values],
                ip=ir.InsertionPoint(self._block.mlir),
            )

    def __getattr__(self, name: str) -> Any:
        if name.rstrip("_") not in OPS:
            raise AttributeError(name)

        def make(*operands: Value, **attrs: Any) -> Any:
            op = self.op(name.rstrip("_"), operands, **attrs)
            results = op.results
            return results[0] if len(results) == 1 else tuple(results)

        return make


def _region_type(block: Block) -> RegionType:
    return RegionType(tuple(v.type for v in block.arguments), tuple(v.type for v in block.yields))
