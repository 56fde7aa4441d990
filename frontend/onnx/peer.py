"""ONNX Runtime as a second opinion: the values of a model as it calculates them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from onnx import ModelProto, ValueInfoProto, numpy_helper

from bireme.frontend.onnx.ops.random import draws
from bireme.frontend.onnx.parts import Traced, info
from bireme.ir import Array, BiremeError


def run(traced: Traced, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Every value of the main graph that ONNX Runtime makes, by name, without its optimisations.

    What nodes of the main graph draw at random is given to it: the numbers of the reference.
    Raises BM6004 where it is not installed, BM6003 with its message when it cannot run the model.
    """
    if find_spec("onnxruntime") is None:
        raise BiremeError("BM6004", "onnxruntime", where="--against onnxruntime")
    import onnxruntime

    proto = _with_all_outputs(traced)
    drawn = _take_drawn(proto, traced, inputs)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, {**inputs, **drawn}), strict=True))
    except Exception as error:  # its exceptions share no class of their own
        raise BiremeError("BM6003", f"ONNX Runtime: {error}"[:2000]) from None


def _take_drawn(proto: ModelProto, traced: Traced, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Makes inputs of what nodes draw; gives the data for them."""
    nodes = [node for node in proto.graph.node if draws(node)]
    names = [name for node in nodes for name in node.output if name]
    if not names:
        return {}
    own = {name: inputs[name] for name in traced.graph.input_names}
    drawn = traced.arrays(own, names)
    for node in nodes:
        proto.graph.node.remove(node)
    kept = [output for output in proto.graph.output if output.name not in names]
    del proto.graph.output[:]
    proto.graph.output.extend(kept)
    proto.graph.input.extend(info(name, traced.tensors[name].type) for name in drawn)
    return drawn


def _with_all_outputs(traced: Traced) -> ModelProto:
    """The model with every value as an output, and with the data of external files inside."""
    proto = ModelProto()
    proto.CopyFrom(traced.model)
    for tensor in proto.graph.initializer:
        if tensor.external_data:
            data = traced.tensors[tensor.name].known
            tensor.CopyFrom(numpy_helper.from_array(data, tensor.name))
    known = {output.name for output in proto.graph.output}
    made = (name for node in proto.graph.node for name in node.output if name)
    proto.graph.output.extend(ValueInfoProto(name=n) for n in made if n not in known)
    return proto
