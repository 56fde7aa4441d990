"""Values of a model by their ONNX names, and models made of some of its nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from bireme.frontend.onnx.dtypes import TO_ONNX
from bireme.frontend.onnx.emit import Tensor
from bireme.frontend.onnx.model import node_names
from bireme.ir import Array, BiremeError, DimExpr, DType, Graph, TensorType, evaluate, reference
from bireme.ir.dims import symbols_of


@dataclass(frozen=True)
class Traced:
    """A model, the graph it was imported as, and its values by their ONNX names. Values inside
    subgraphs and functions have none here.
    """

    model: ModelProto
    graph: Graph
    tensors: Mapping[str, Tensor]

    @property
    def nodes(self) -> dict[str, NodeProto]:
        """The nodes of the main graph by the names that reports and locations give them."""
        proto = self.model.graph
        return dict(zip(node_names(proto), proto.node, strict=True))

    def outermost(self, names: Sequence[str]) -> list[str]:
        """The nodes of the main graph that `names`, of nodes at any depth, belong to."""
        known = self.nodes
        found = []
        for name in names:
            parts = name.split("/")
            ends = ["/".join(parts[:i]) for i in range(len(parts), 0, -1)]
            found += [next((end for end in ends if end in known), "")]
        return [name for name in known if name in found]

    def arrays(self, inputs: Mapping[str, Array], wanted: Sequence[str]) -> dict[str, Array]:
        """Data of the values called `wanted` when the reference runs the model; those that the
        reference never makes are left out.
        """
        sizes = reference.bind_symbols(self.graph, inputs)
        named = {n: self.tensors[n] for n in wanted if n in self.tensors}
        found = {n: a for n, t in named.items() if (a := _known(t, sizes)) is not None}
        by_value: dict[Any, list[str]] = {}
        for name, tensor in named.items():
            if tensor.value is not None and name not in found:
                by_value.setdefault(tensor.value, []).append(name)

        def trace(value: Any, array: Array) -> None:
            found.update(dict.fromkeys(by_value.get(value, ()), array))

        if by_value:
            reference.run(self.graph, inputs, trace=trace)
        return found


def values_of(nodes: Sequence[NodeProto]) -> tuple[list[str], list[str]]:
    """Names that some nodes read from outside, and all that they make."""
    made = {name for node in nodes for name in node.output if name}
    read = dict.fromkeys(name for node in nodes for name in _reads(node) if name not in made)
    return list(read), list(dict.fromkeys(n for node in nodes for n in node.output if n))


def part(traced: Traced, names: Sequence[str], arrays: Mapping[str, Array]) -> ModelProto:
    """A model of the nodes called `names`, which stand in order.

    What they read becomes inputs, or initializers where the model knows the data. `arrays` gives
    what is to know of shapes and data. Raises BM6003 for a value that it lacks.
    """
    nodes = [node for name, node in traced.nodes.items() if name in names]
    read, made = values_of(nodes)
    inner = {name for node in nodes for name in _reads(node)}
    lacking = [name for name in read if name not in arrays]
    if lacking:
        raise BiremeError("BM6003", f"no data of {', '.join(lacking)}", where=", ".join(names))
    frozen = [n for n in read if traced.tensors[n].known is not None]
    fresh = [n for n in read if n not in frozen]
    outputs = [n for n in made if n in arrays and (n not in inner or len(nodes) == 1)]
    source = traced.model
    graph = helper.make_graph(
        nodes,
        source.graph.name or "part",
        [info(n, traced.tensors[n].type) for n in fresh],
        [info(n, _type(arrays[n])) for n in outputs],
        [_initializer(source, n, arrays[n]) for n in frozen],
    )
    made_model = helper.make_model(
        graph,
        opset_imports=source.opset_import,
        functions=source.functions,
        producer_name="bireme compare",
    )
    made_model.ir_version = source.ir_version
    return made_model


def _reads(node: NodeProto) -> Iterator[str]:
    """Names that a node reads, those that its subgraphs read from outside included."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for graph in [attribute.g, *attribute.graphs]:
            yield from _free(graph)


def _free(graph: GraphProto) -> Iterator[str]:
    known = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    known |= {name for node in graph.node for name in node.output}
    for node in graph.node:
        yield from (name for name in _reads(node) if name not in known)
    yield from (v.name for v in graph.output if v.name not in known)


def _known(tensor: Tensor, sizes: Mapping[str, int]) -> Array | None:
    """Data that the importer knows, with every size a number; None where the data decides one."""
    if tensor.known is None or tensor.known.dtype != object:
        return tensor.known
    elements = tensor.known.ravel().tolist()
    if not all(isinstance(e, int | DimExpr) for e in elements):
        return None
    if any(not symbols_of(e) <= sizes.keys() for e in elements):
        return None
    numbers = [evaluate(e, sizes) for e in elements]
    return np.array(numbers, tensor.dtype.numpy).reshape(tensor.known.shape)


def _type(array: Array) -> TensorType:
    return TensorType(DType.of(array), array.shape)


def info(name: str, tensor: TensorType) -> Any:
    """The declaration of a value."""
    shape = [d if isinstance(d, int) else str(d) for d in tensor.shape]
    return helper.make_tensor_value_info(name, TO_ONNX[tensor.dtype], shape)


def _initializer(source: ModelProto, name: str, array: Array) -> Any:
    """Constant data as the model itself stores it, if it is in the file."""
    for tensor in source.graph.initializer:
        if tensor.name == name and not tensor.external_data:
            return tensor
    return numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
