"""What holds for every random graph. Each function takes what a failing test prints."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from bireme.codegen.cache import KernelCache, default_folder
from bireme.codegen.compiler import Options, compile_graph
from bireme.frontend import onnx
from bireme.ir import BiremeError, Builder, DType, Graph, TensorType
from bireme.ir.reference import run
from bireme.passes.pipeline import optimise
from bireme.runtime import Model, Session
from bireme.targets.registry import Target, find
from tests.random.example import Example
from tests.random.judge import assert_agrees, expectations

_TARGET = find("x86:generic")


def passes_keep_results(example: Example) -> None:
    """The reference gives the same for the graph that passes leave; the IR is valid after each.

    Results are those of the graph with float32 in the place of 16-bit floats: the reference rounds
    after every op, kernels do not, and passes may make several ops of one.
    """
    graph = example.graph().clone()
    optimise(graph, _TARGET.description, verify=True)
    example = example.in_float32("f16", "bf16")
    graph = example.graph().clone()
    optimise(graph, _TARGET.description)
    for sizes in example.sizes:
        results = run(graph, example.inputs(graph, sizes))
        for name, expected in expectations(example, sizes).items():
            assert_agrees(name, results[name], expected)


def compiled_gives_results(example: Example) -> None:
    """One artefact gives what the reference gives, at each of the sizes."""
    graph = example.graph()
    data, _ = compile_graph(graph, _host_target(), Options(cache=_cache(), jobs=0))
    session = Session(Model.load(data), threads=2)
    for sizes in example.sizes:
        session.seed = 0  # the reference's is the first run after this seed
        results = session.run(example.inputs(graph, sizes))
        for name, expected in expectations(example, sizes).items():
            assert_agrees(name, results[name], expected)


@cache
def _cache() -> KernelCache:
    return KernelCache(default_folder())


@cache
def _host_target() -> Target:
    """The generic target with nothing but the best level that this machine has."""
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.F32, ()))
    graph.set_outputs({"y": Builder(graph).relu(x)})
    data, _ = compile_graph(graph, _TARGET, Options(cache=_cache(), jobs=0))
    best = Model.load(data).isa
    levels = tuple(x for x in _TARGET.description.levels if x.name == best)
    return Target(replace(_TARGET.description, levels=levels))


def onnx_gives_results(example: Example) -> None:
    """The graph as an ONNX model, imported again, gives the same; where ONNX can express it.

    Not in float64, for the attributes of ONNX are float32.
    """
    example = example.in_float32("f64")
    try:
        model = onnx.export(example.graph())
    except BiremeError as error:
        if error.code != "BM1003":
            raise
        return
    dims = {name: range(1 << 20) for name in example.graph().symbols}
    graph = onnx.load(model, dims=dims)
    for sizes in example.sizes:
        results = run(graph, example.inputs(example.graph(), sizes))
        for name, expected in expectations(example, sizes).items():
            assert_agrees(name, results[name], expected)
