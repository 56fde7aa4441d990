"""The dialect as an ONNX model, so that any other runtime can be asked for the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

from bireme.frontend.onnx.dtypes import SINCE, TO_ONNX
from bireme.ir import BiremeError, Block, Dim, DimExpr, DType, Graph, Op, TensorType, Value
from bireme.ir.dims import Atom

OPSET = 21
# The checker copies the model, which takes long for a large one and ends at 2 GiB.
_MOST_CHECKED = 1 << 27

# Writes one op; gives the names of its results.
OpWriter = Callable[["Writer", Op], Sequence[str]]


class Writer:
    """Nodes and data of a model in the making. Values are known by their ONNX names."""

    def __init__(self, graph: Graph, table: dict[str, OpWriter]) -> None:
        self.graph = graph
        self.opset = OPSET
        self.nodes: list[NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}
        self._table = table
        self._names: dict[Value, str] = {}
        self._taken: set[str] = set()
        self._dims: dict[Dim, str] = {}
        self._node = ""

    # --- names ------------------------------------------------------------------------------------

    def fresh(self, stem: str) -> str:
        """A name that no other value has."""
        name, number = stem, 0
        while name in self._taken:
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name)
        return name

    def bind(self, value: Value, name: str) -> None:
        """Says what a value is called."""
        self._names[value] = name

    def name(self, value: Value) -> str:
        """What a value is called."""
        return self._names[value]

    # --- making nodes -----------------------------------------------------------------------------

    def node(self, kind: str, inputs: Sequence[str], outputs: int = 1, **attrs: Any) -> list[str]:
        """Adds a node; gives the names of its outputs."""
        names = [self.fresh(f"{kind.lower()}") for _ in range(outputs)]
        made = helper.make_node(kind, list(inputs), names, **attrs)
        made.name = self.fresh(self._node or kind)
        self.nodes.append(made)
        return names

    def need(self, opset: int) -> None:
        """Says that a node exists only from an opset on."""
        self.opset = max(self.opset, opset)

    def one(self, kind: str, *inputs: str, **attrs: Any) -> str:
        """Adds a node with one output."""
        return self.node(kind, inputs, **attrs)[0]

    def data(self, array: Any, stem: str = "data") -> str:
        """The name of constant data."""
        name = self.fresh(stem)
        self.initializers[name] = numpy_helper.from_array(np.asarray(array, order="C"), name)
        return name

    def number(self, value: float, dtype: DType) -> str:
        """The name of a scalar."""
        return self.data(np.array(value, dtype.numpy), "number")

    def ints(self, values: Sequence[int]) -> str:
        """The name of a vector of int64."""
        return self.data(np.array(values, np.int64), "ints")

    # --- sizes ------------------------------------------------------------------------------------

    def sizes(self, dims: Sequence[Dim]) -> str:
        """The name of a vector of sizes, computed from the inputs' shapes where symbolic."""
        known = [d for d in dims if isinstance(d, int)]
        if len(known) == len(dims):
            return self.ints(known)
        return self.one("Concat", *(self.size(d) for d in dims), axis=0)

    def size(self, dim: Dim) -> str:
        """The name of a vector that holds one size."""
        if dim not in self._dims:
            self._dims[dim] = self.ints([dim]) if isinstance(dim, int) else self._computed(dim)
        return self._dims[dim]

    def _computed(self, dim: DimExpr) -> str:
        total = ""
        for monomial, factor in dim.terms.items():
            parts = [self._atom(atom) for atom in monomial]
            if factor != 1 or not parts:
                parts.append(self.ints([factor]))
            term = parts[0]
            for part in parts[1:]:
                term = self.one("Mul", term, part)
            total = self.one("Add", total, term) if total else term
        return total

    def _atom(self, atom: Atom) -> str:
        if isinstance(atom, str):
            return self._symbol(atom)
        form, left, right = atom
        # Sizes are not negative, so rounding towards zero and downwards are the same.
        kinds = {"//": "Div", "%": "Mod", "min": "Min", "max": "Max"}
        return self.one(kinds[form], self.size(left), self.size(right))

    def _symbol(self, symbol: str) -> str:
        for value in self.graph.inputs:
            for axis, dim in enumerate(value.type.shape):
                if str(dim) == symbol:
                    return self.one("Shape", self.name(value), start=axis, end=axis + 1)
        raise BiremeError("BM2007", f"no input has an axis of size {symbol}")

    @contextmanager
    def inside(self) -> Iterator[list[NodeProto]]:
        """While entered, nodes go to the list given, for a subgraph."""
        outer, known = self.nodes, dict(self._dims)
        self.nodes = []
        try:
            yield self.nodes
        finally:
            self.nodes, self._dims = outer, known

    # --- whole blocks -----------------------------------------------------------------------------

    def block(self, block: Block) -> None:
        """Writes every op of a block."""
        for op in block.ops:
            self._node = op.node.replace(" ", "") or op.name
            results = self._table[op.name](self, op)
            for value, name in zip(op.results, results, strict=True):
                self.bind(value, name)
                self.need(SINCE.get(value.type.dtype, OPSET))


def export_with(graph: Graph, table: dict[str, OpWriter]) -> ModelProto:
    """`graph` as a model, by a table of op writers. Raises BM1003 with all ops that it lacks."""
    missing = [op for op in graph.walk() if op.name not in table]
    if missing:
        lines = "".join(f"\n  {op.node or op.name}: {op.name}" for op in missing)
        raise BiremeError("BM1003", f"{len(missing)} ops have no ONNX form:{lines}")
    writer = Writer(graph, table)
    for name, value in zip(graph.input_names, graph.inputs, strict=True):
        writer.bind(value, writer.fresh(name))
        writer.need(SINCE.get(value.type.dtype, OPSET))
    outputs = [writer.fresh(name) for name in graph.output_names]
    writer.block(graph.body)
    for name, value in zip(outputs, graph.outputs, strict=True):
        writer.nodes.append(helper.make_node("Identity", [writer.name(value)], [name]))
    proto = helper.make_graph(
        writer.nodes,
        graph.name,
        [_info(n, v.type) for n, v in zip(graph.input_names, graph.inputs, strict=True)],
        [_info(n, v.type) for n, v in zip(outputs, graph.outputs, strict=True)],
        list(writer.initializers.values()),
    )
    opsets = [helper.make_opsetid("", writer.opset)]
    model = helper.make_model(
        proto,
        opset_imports=opsets,
        ir_version=helper.find_min_ir_version_for(opsets),
        producer_name="bireme",
    )
    if model.ByteSize() < _MOST_CHECKED:
        checker.check_model(model)
    return model


def _info(name: str, tensor: TensorType) -> Any:
    shape = [d if isinstance(d, int) else str(d) for d in tensor.shape]
    return helper.make_tensor_value_info(name, TO_ONNX[tensor.dtype], shape)
