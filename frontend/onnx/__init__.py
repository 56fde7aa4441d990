"""ONNX in and out: the importer, the check that lists what it cannot import, the exporter."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import ModelProto

from bireme.frontend.onnx.export import export_with
from bireme.frontend.onnx.export_ops import EXPORTS
from bireme.frontend.onnx.importer import Importer
from bireme.frontend.onnx.inputs import SizeNames
from bireme.frontend.onnx.model import Source, read_model
from bireme.frontend.onnx.parts import Traced, part, values_of
from bireme.frontend.onnx.report import NodeReport, refusal
from bireme.ir import Array, Graph

__all__ = [
    "NodeReport",
    "Source",
    "Traced",
    "check",
    "export",
    "load",
    "load_partly",
    "load_traced",
    "part",
    "values_of",
]


def _run(
    model: Source, dims: Mapping[str, int | range] | None, constants: Mapping[str, Array] | None
) -> Importer:
    proto, reader = read_model(model)
    importer = Importer(proto, reader, SizeNames(dims or {}))
    importer.run(constants or {})
    return importer


def load(
    model: Source,
    *,
    dims: Mapping[str, int | range] | None = None,
    constants: Mapping[str, Array] | None = None,
) -> Graph:
    """A model in the dialect.

    `model` is a path, the bytes of a file, or a ModelProto. `dims` fixes sizes (`{"batch": 1}`) or
    gives their range (`{"seq": range(1, 129)}`); a size that the model does not name is called
    `{input}_{axis}`. `constants` freezes inputs to data.

    Raises BM1003 with every node that cannot be imported (or the one code that all of these have),
    BM1001 for what is no ONNX file, BM1002 for versions, BM1004 for external data, BM1005 for a
    malformed graph, BM6001 for an unreadable file, BM6002 and BM6003 for `dims`, `constants`.
    """
    importer = _run(model, dims, constants)
    if any(not r.supported for r in importer.reports):
        raise refusal(importer.reports)
    importer.graph.verify()
    return importer.graph


def check(
    model: Source,
    *,
    dims: Mapping[str, int | range] | None = None,
    constants: Mapping[str, Array] | None = None,
) -> list[NodeReport]:
    """A report on every node of the model, from the import itself.

    Takes the arguments of `load`, and raises its errors but for nodes that cannot be imported.
    """
    return _run(model, dims, constants).reports


def load_traced(
    model: Source,
    *,
    dims: Mapping[str, int | range] | None = None,
    constants: Mapping[str, Array] | None = None,
) -> Traced:
    """Like `load`, with the values' own names."""
    importer = _run(model, dims, constants)
    if any(not r.supported for r in importer.reports):
        raise refusal(importer.reports)
    importer.graph.verify()
    return Traced(importer.model, importer.graph, importer.scope.tensors())


def load_partly(
    model: Source,
    *,
    dims: Mapping[str, int | range] | None = None,
    constants: Mapping[str, Array] | None = None,
) -> tuple[Graph, list[NodeReport]]:
    """What can be imported of a model, to see what would become of it, and the reports of `check`.

    Where a node is refused, the graph is not the model: what the node would give is an input, and
    every value that nothing reads is an output. Raises the errors of `check`.
    """
    importer = _run(model, dims, constants)
    graph = importer.graph
    if any(not r.supported for r in importer.reports):
        loose = [v for op in graph.body.ops for v in op.results if not v.uses]
        loose += [v for v in graph.outputs if v not in loose]
        graph.set_outputs([(f"output{i}", v) for i, v in enumerate(loose)])
    graph.verify()
    return graph, importer.reports


def export(graph: Graph) -> ModelProto:
    """A graph of the dialect as an ONNX model of opset 21.

    Outputs keep their names, unless an input has the same one.
    Raises BM1003 with every op that has no ONNX form: fused kernels and blocked layouts, above all.
    """
    return export_with(graph, EXPORTS)
