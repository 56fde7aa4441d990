"""The walk over a model that turns its nodes into ops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto
from onnx.defs import OpSchema

from bireme.frontend.onnx.bounds import Bounds
from bireme.frontend.onnx.emit import Emitter, Tensor, data
from bireme.frontend.onnx.functions import bind_attributes, schema_function
from bireme.frontend.onnx.guess import Guesses
from bireme.frontend.onnx.inputs import SizeNames, declared_sizes, frozen, input_type
from bireme.frontend.onnx.model import OLDEST_OPSET, node_names, opsets_of, plain_domain
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops import find_converter, reason_for_none
from bireme.frontend.onnx.report import NodeReport, RefusedError
from bireme.frontend.onnx.schema import check_node
from bireme.frontend.onnx.tensors import TensorReader
from bireme.ir import Array, BiremeError, Graph

_MOST_DEPTH = 32
_MOST_NODES = 250_000
_MOST_CALLS = 10_000
# What arithmetic on a malformed node can raise before a check finds the fault.
_FAULTS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class TooLargeError(BiremeError):
    """A fault of the whole model, not of the node at which it is noticed."""


class Scope:
    """Values by name, in a graph, subgraph or function body."""

    def __init__(
        self,
        importer: Importer,
        opsets: Mapping[str, int],
        parent: Scope | None = None,
        prefix: str = "",
        depth: int = 0,
        listed: bool = True,
    ) -> None:
        # `listed`: whether nodes that can be imported are reported too, not only the others.
        self.listed = listed
        self.importer = importer
        self.opsets = opsets
        self.prefix = prefix
        self.depth = depth
        self._parent = parent
        # None: the value comes from a refused node.
        self._values: dict[str, Tensor | None] = {}
        self._declared: dict[str, list[int | None]] = {}
        self._most: int | None = None
        if depth > _MOST_DEPTH:
            raise BiremeError("BM1005", f"graphs are nested more than {_MOST_DEPTH} deep")

    def set(self, name: str, tensor: Tensor | None) -> None:
        """Names a value. Raises BM1005 when the name is taken."""
        if name in self._values:
            raise BiremeError("BM1005", f"value {name!r} is defined twice")
        self._values[name] = tensor

    def declare(self, graph: GraphProto) -> None:
        """Notes what the scope's graph states of its values."""
        self._declared = declared_sizes([*graph.value_info, *graph.output])

    def declare_call(self, caller: Scope, outputs: Iterable[str]) -> None:
        """Notes what the caller's graph states of a call's results: in ONNX's own functions, what
        makes them is no larger along any axis.
        """
        sizes = [size for name in outputs if name for size in caller._declared.get(name, [None])]
        known = [size for size in sizes if size is not None]
        self._most = max(known, default=None) if len(known) == len(sizes) else caller._most

    def declared(self, name: str, axis: int) -> int | None:
        """The size that the model states of an axis of a value of this scope, if it does."""
        sizes = self._declared.get(name, [])
        return sizes[axis] if axis < len(sizes) else self._most

    def tensors(self) -> dict[str, Tensor]:
        """All values of this scope itself but those of refused nodes."""
        return {name: tensor for name, tensor in self._values.items() if tensor is not None}

    def has(self, name: str) -> bool:
        """Whether this scope itself, without its parents, knows the name."""
        return name in self._values

    def get(self, name: str) -> Tensor:
        """The value called `name`. Raises BM1005 for an unknown one, RefusedError."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope._values:
                tensor = scope._values[name]
                if tensor is None:
                    raise RefusedError
                return tensor
            scope = scope._parent
        raise BiremeError("BM1005", f"value {name!r} is not defined before it is read")

    def run(
        self, graph: GraphProto, inputs: Sequence[Tensor], emitter: Emitter, name: str
    ) -> list[Tensor]:
        """Imports a subgraph that may read this scope's values; gives its outputs."""
        inner = Scope(self.importer, self.opsets, self, f"{name}/", self.depth + 1, self.listed)
        if len(graph.input) != len(inputs):
            raise BiremeError(
                "BM1005", f"subgraph {graph.name!r} has {len(graph.input)} inputs for {len(inputs)}"
            )
        for info, tensor in zip(graph.input, inputs, strict=True):
            inner.set(info.name, tensor)
        inner.declare(graph)
        inner._most = self._most
        return self.importer.subgraph(graph, inner, emitter)


class Importer:
    """Imports one model into `graph`; `reports` has a line for each node met."""

    def __init__(self, model: ModelProto, reader: TensorReader, sizes: SizeNames) -> None:
        self.model = model
        self.reader = reader
        self.sizes = sizes
        self.graph = Graph(model.graph.name or "main")
        self.emitter = Emitter(self.graph, Bounds(sizes.ranges))
        self.reports: list[NodeReport] = []
        self._functions = {(plain_domain(f.domain), f.name, f.overload): f for f in model.functions}
        self._guesses = Guesses(model, self.graph)
        # Values of the main graph, by the model's own names.
        self.scope = Scope(self, opsets_of(model))
        self._count = 0
        self._streams = 0
        self._calls = 0

    def new_stream(self) -> int:
        """A stream of random numbers that no other node has (`random_key`)."""
        self._streams += 1
        return self._streams

    def run(self, constants: Mapping[str, Array]) -> None:
        """Imports the whole model. Raises for faults of the whole; nodes are reported."""
        proto = self.model.graph
        scope = self.scope
        scope.declare(proto)
        self._initializers(proto, scope)
        self._inputs(proto, scope, constants)
        self._walk(list(proto.node), scope, self.emitter)
        self.sizes.check_all_used()
        self.emitter.at("").discard_blocks()
        for name, sizes in self.sizes.ranges.items():  # the nodes may ask for more than the inputs
            self.graph.set_symbol(name, sizes)
        outputs: list[tuple[str, Tensor]] = []
        for info in proto.output:
            try:
                outputs.append((info.name, scope.get(info.name)))
            except RefusedError:
                continue
            except BiremeError as error:
                raise error.at(f"output {info.name!r}") from None
        names = [name for name, _ in outputs]
        if len(set(names)) != len(names):
            raise BiremeError("BM1005", f"two outputs have one name: {names}")
        if not names and not proto.output:
            raise BiremeError("BM1005", "the graph has no outputs")
        self.graph.set_outputs([(name, self.emitter.value(t)) for name, t in outputs])

    def _initializers(self, proto: GraphProto, scope: Scope) -> None:
        if proto.sparse_initializer:
            names = ", ".join(repr(s.values.name) for s in proto.sparse_initializer)
            raise BiremeError("BM1003", f"sparse initializers: {names}", hint="store them densely")
        for tensor in proto.initializer:
            try:
                found = data(self.reader.read(tensor), tensor.name)
            except BiremeError as error:
                if error.code != "BM1003":
                    raise
                self._report(tensor.name, "(initializer)", "", scope.opsets.get("", 0), error)
                scope.set(tensor.name, None)
            else:
                scope.set(tensor.name, found)

    def _inputs(self, proto: GraphProto, scope: Scope, constants: Mapping[str, Array]) -> None:
        unknown = sorted(set(constants) - {i.name for i in proto.input})
        if unknown:
            known = ", ".join(i.name for i in proto.input)
            raise BiremeError("BM6002", f"no input is called {', '.join(unknown)}; inputs: {known}")
        seen: set[str] = set()
        for info in proto.input:
            if info.name in seen or not info.name:
                raise BiremeError("BM1005", f"two inputs are called {info.name!r}")
            seen.add(info.name)
            if scope.has(info.name) and info.name not in constants:
                continue  # an initializer is its default, which we take as its value
            try:
                kind = input_type(info, self.sizes)
            except BiremeError as error:
                self._report(info.name, "(input)", "", scope.opsets.get("", 0), error)
                scope.set(info.name, None)
                continue
            if info.name in constants:
                array = frozen(info.name, np.asarray(constants[info.name]), kind)
                scope._values[info.name] = data(array, info.name)
            else:
                scope.set(info.name, Tensor(kind, self.graph.add_input(info.name, kind)))

    def subgraph(self, graph: GraphProto, scope: Scope, emitter: Emitter) -> list[Tensor]:
        """Imports the body of a control-flow node; gives its outputs."""
        self._initializers(graph, scope)
        self._walk(list(graph.node), scope, emitter)
        return [scope.get(info.name) for info in graph.output]

    def _walk(self, nodes: Sequence[NodeProto], scope: Scope, emitter: Emitter) -> None:
        for proto, name in zip(nodes, node_names(list(nodes), scope.prefix), strict=True):
            self._count += 1
            if self._count > _MOST_NODES:
                raise TooLargeError("BM1005", f"more than {_MOST_NODES} nodes", where=name)
            self._node(proto, name, scope, emitter)

    def _node(self, proto: NodeProto, name: str, scope: Scope, emitter: Emitter) -> None:
        domain = plain_domain(proto.domain)
        opset = scope.opsets.get(domain, 0)
        before = len(self.reports)
        outputs: Sequence[Tensor | None] | None = None
        try:
            emitter.at(name)
            outputs = self._convert(proto, name, domain, opset, scope, emitter)
            if scope.listed:
                self._report(name, proto.op_type, domain, opset)
        except TooLargeError:
            raise
        except RefusedError:
            if all(r.supported for r in self.reports[before:]):
                self._unchecked(name, proto, domain, opset)
        except BiremeError as error:
            self._report(name, proto.op_type, domain, opset, error)
        except _FAULTS as error:
            fault = BiremeError("BM1005", f"not understood: {type(error).__name__}: {error}")
            self._report(name, proto.op_type, domain, opset, fault)
        for index, output in enumerate(proto.output):
            if output:
                made = self._guesses.value(output) if outputs is None else outputs[index]
                try:
                    scope.set(output, made)
                except BiremeError as error:
                    raise error.at(name) from None

    def _convert(
        self, proto: NodeProto, name: str, domain: str, opset: int, scope: Scope, emitter: Emitter
    ) -> Sequence[Tensor | None]:
        function = self._functions.get((domain, proto.op_type, proto.overload))
        if function is not None:
            inputs = [scope.get(i) if i else None for i in proto.input]
            return self._call(function, proto, inputs, scope, emitter, name)
        schema = check_node(proto, domain, opset)
        converter = find_converter(domain, proto.op_type, _converted(domain, opset))
        if converter is None and (schema is None or not _has_body(schema)):
            raise BiremeError("BM1003", reason_for_none(domain, proto.op_type))
        inputs = [scope.get(i) if i else None for i in proto.input]
        if converter is None:
            body = schema_function(schema, proto, opset, inputs)
            return self._call(body, proto, inputs, scope, emitter, name, schema)
        node = Node(proto, name, _converted(domain, opset), inputs, emitter, self.reader, scope)
        made = converter(node)
        node.check_all_read(schema)
        results = [made] if isinstance(made, Tensor) else list(made)
        missing = [
            o for i, o in enumerate(proto.output) if o and (i >= len(results) or results[i] is None)
        ]
        if missing:
            raise BiremeError("BM1003", f"output {missing[0]!r} is not supported")
        return results

    def _call(
        self,
        function: FunctionProto,
        proto: NodeProto,
        inputs: Sequence[Tensor | None],
        scope: Scope,
        emitter: Emitter,
        name: str,
        schema: OpSchema | None = None,
    ) -> list[Tensor | None]:
        """Imports the body of a function in place of its call."""
        self._calls += 1
        if self._calls > _MOST_CALLS:
            raise TooLargeError("BM1005", f"more than {_MOST_CALLS} calls of functions", where=name)
        inner = Scope(self, opsets_of(function), None, f"{name}/", scope.depth + 1, False)
        if schema is not None:
            inner.declare_call(scope, proto.output)
        for what, given, known in (
            ("inputs", inputs, function.input),
            ("outputs", proto.output, function.output),
        ):
            if len(given) > len(known):
                raise BiremeError("BM1005", f"{len(given)} {what}; the function has {len(known)}")
        absent: set[str] = set()
        for index, formal in enumerate(function.input):
            actual = inputs[index] if index < len(inputs) else None
            if actual is None:
                absent.add(formal)
            else:
                inner.set(formal, actual)
        nodes = bind_attributes(function, proto, absent, schema)
        self._walk(nodes, inner, emitter)
        emitter.at(name)
        pairs = zip(function.output, proto.output, strict=False)
        return [inner.get(made) if wanted else None for made, wanted in pairs]

    def _report(
        self, name: str, op: str, domain: str, opset: int, error: BiremeError | None = None
    ) -> None:
        if error is None:
            self.reports.append(NodeReport(name, op, domain, opset))
        else:
            detail = error.detail
            self.reports.append(NodeReport(name, op, domain, opset, error.code, detail, error.hint))

    def _unchecked(self, name: str, proto: NodeProto, domain: str, opset: int) -> None:
        """A node behind a refused one: reported only when it could not be imported anyway."""
        function = (domain, proto.op_type, proto.overload) in self._functions
        if not function:
            try:
                schema = check_node(proto, domain, opset)
            except BiremeError as error:
                self._report(name, proto.op_type, domain, opset, error)
                return
            version = _converted(domain, opset)
            known = find_converter(domain, proto.op_type, version) is not None
            if not known and (schema is None or not _has_body(schema)):
                unknown = BiremeError("BM1003", reason_for_none(domain, proto.op_type))
                self._report(name, proto.op_type, domain, opset, unknown)
                return
        self.reports.append(NodeReport(name, proto.op_type, domain, opset, checked=False))


def _converted(domain: str, opset: int) -> int:
    """The opset whose converter applies: operators of older ones are those of the oldest known."""
    return max(opset, OLDEST_OPSET) if domain == "" else opset


def _has_body(schema: object) -> bool:
    return bool(
        getattr(schema, "has_function", False)
        or getattr(schema, "has_context_dependent_function", False)
    )
