"""From a module to a graph: `forward` runs once on symbolic tensors."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bireme.frontend.nn.dispatch import Tracer, place, tracing
from bireme.frontend.nn.module import Module
from bireme.frontend.nn.tensor import Tensor
from bireme.frontend.nn.tree import named_leaves
from bireme.ir import BiremeError, Dim, DType, Graph, SymbolRange, TensorType, parse


@dataclass(frozen=True)
class Spec:
    """Shape and element type of an input.

    A size is a number, or text for one that only run time knows: a symbol's name, or an expression
    of symbols such as `"2*seq"`. Inputs that use one name have one size.
    """

    shape: tuple[int | str | Dim, ...]
    dtype: Any = "float32"

    @property
    def type(self) -> TensorType:
        sizes = tuple(parse(d) if isinstance(d, str) else d for d in self.shape)
        return TensorType(DType.of(self.dtype), sizes)


def trace(
    module: Module,
    inputs: Mapping[str, Any],
    symbols: Mapping[str, SymbolRange] | None = None,
    name: str = "",
) -> Graph:
    """The module's graph for inputs like these.

    Args:
        module: what to trace; its weights are shared with the graph, not copied.
        inputs: a `Spec`, or an example array, for each argument of `forward` by name.
        symbols: allowed sizes of the symbols; any size from 1 on unless given here.
        name: the graph's name; the module's class unless given.

    Outputs are named by the form of what `forward` returns: `output` for one tensor, `output.0`,
    `output.1` for a tuple, the keys for a dict, the fields for a dataclass or named tuple.

    Raises BM1008, naming module and line, for what cannot be traced; shape and type errors keep
    their own code.
    """
    _check_names(module, inputs)
    graph = Graph(name or type(module).__name__)
    arguments: dict[str, Tensor] = {}
    for key, given in inputs.items():
        tensor_type = given.type if isinstance(given, Spec) else Tensor(given).type
        arguments[key] = Tensor.of(graph.add_input(key, tensor_type))
    for symbol in graph.symbols:
        graph.set_symbol(symbol, (symbols or {}).get(symbol, SymbolRange(least=1)))
    tracer = Tracer(graph, {id(v.source): k for k, v in module.named_variables()})
    with tracing(tracer):
        result = module(**arguments)
        outputs = [(key, tracer.value(leaf.source)) for key, leaf in _named_outputs(result)]
    if not outputs:
        raise BiremeError("BM1008", "forward returned no tensor", where=type(module).__name__)
    graph.set_outputs(outputs)
    graph.verify()
    return graph


def _named_outputs(result: Any) -> list[tuple[str, Tensor]]:
    nameless = isinstance(result, (tuple, list)) and not hasattr(result, "_fields")
    pairs = list(named_leaves(result, "output" if nameless else ""))
    return [(key or "output", leaf) for key, leaf in pairs]


def _check_names(module: Module, inputs: Mapping[str, Any]) -> None:
    """Raises BM1008 unless `inputs` fits the signature of forward."""
    signature = inspect.signature(module.forward)
    kinds = [p.kind for p in signature.parameters.values()]
    if inspect.Parameter.VAR_KEYWORD in kinds:
        return
    known = list(signature.parameters)
    needed = [k for k, p in signature.parameters.items() if p.default is p.empty]
    faults = [f"missing: {k}" for k in needed if k not in inputs]
    faults += [f"unexpected: {k}" for k in inputs if k not in known]
    if faults:
        detail = f"forward takes ({', '.join(known)}); {', '.join(faults)}"
        raise BiremeError(
            "BM1008",
            detail,
            where=f"{type(module).__name__} ({place()})",
            hint="name the inputs as the arguments of forward",
        )
