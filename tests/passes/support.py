"""What the tests of passes share: a target, a way to build graphs, comparison by reference."""

from contextlib import contextmanager

import numpy as np

from bireme.ir import Builder, DType, Graph, SymbolRange, TensorType, symbol
from bireme.ir.reference import run
from bireme.passes import run_passes
from bireme.targets.description import Description

TARGET = Description(
    target="x86",
    chip="test",
    levels=(),
    channel_block=16,
    cores=2,
    l1_bytes=32 << 10,
    l2_bytes=1 << 20,
    l3_bytes=32 << 20,
    gflops_core=100.0,
    memory_gbs=20.0,
)


class Net:
    """A graph under construction. Weights are random and reproducible."""

    def __init__(self, seed=0):
        self.graph = Graph("net")
        self.b = Builder(self.graph)
        self.random = np.random.default_rng(seed)

    def input(self, name, *shape, dtype=DType.F32, hint=None):
        dims = tuple(symbol(s) if isinstance(s, str) else s for s in shape)
        value = self.graph.add_input(name, TensorType(dtype, dims))
        for size in shape:
            if isinstance(size, str):
                self.graph.set_symbol(size, SymbolRange(1, None, hint or 8))
        return value

    def weight(self, *shape, name="w", dtype=np.float32):
        return self.b.constant(self.random.standard_normal(shape).astype(dtype), name)

    def positive(self, *shape, name="v"):
        return self.b.constant(self.random.uniform(0.5, 2.0, shape).astype(np.float32), name)

    def scalar(self, value, dtype=np.float32):
        return self.b.constant(np.asarray(value, dtype), "scalar")

    def conv(self, x, filters, kernel=3, *, pad=None, stride=1, groups=1, node=""):
        self.b.at(node)
        rank = x.type.rank - 2
        w = self.weight(filters, x.type.shape[1] // groups, *(kernel,) * rank, name=f"{node}.w")
        pads = (kernel // 2 if pad is None else pad,) * 2 * rank
        strides, dilations = (stride,) * rank, (1,) * rank
        return self.b.conv(x, w, strides=strides, pads=pads, dilations=dilations, groups=groups)

    def batch_norm(self, x):
        c = x.type.shape[1]
        scale, bias = self.positive(c, name="scale"), self.weight(c, name="bias")
        mean, variance = self.weight(c, name="mean"), self.positive(c, name="variance")
        return self.b.batch_norm(x, scale, bias, mean, variance)

    def done(self, *values):
        self.graph.set_outputs([(f"y{i}", v) for i, v in enumerate(values)])
        self.graph.verify()
        return self.graph


def random_inputs(graph, sizes=None, seed=1):
    """Arrays for every input; `sizes` gives symbols their values."""
    from bireme.ir import evaluate

    random = np.random.default_rng(seed)
    sizes = dict.fromkeys(graph.symbols, 3) | (sizes or {})
    found = {}
    for name, value in zip(graph.input_names, graph.inputs, strict=True):
        shape = tuple(evaluate(d, sizes) for d in value.type.shape)
        dtype = value.type.dtype
        if dtype.is_float:
            found[name] = random.standard_normal(shape).astype(dtype.numpy)
        elif dtype is DType.BOOL:
            found[name] = random.integers(0, 2, shape).astype(bool)
        else:
            found[name] = random.integers(0, 100, shape).astype(dtype.numpy)
    return found


@contextmanager
def same_results(graph, *, sizes=({},), tolerance=0.0):
    """Checks that what is done to `graph` inside keeps its outputs, at each of the given sizes.

    With tolerance 0 the results must be the same bits (NaNs included).
    """
    inputs = [random_inputs(graph, s) for s in sizes]
    before = [run(graph, x) for x in inputs]
    names = graph.output_names
    yield
    graph.verify()
    assert graph.output_names == names
    for x, expected in zip(inputs, before, strict=True):
        found = run(graph, x)
        for name in names:
            assert found[name].dtype == expected[name].dtype
            if tolerance == 0.0:
                np.testing.assert_array_equal(found[name], expected[name])
            else:
                scale = max(float(np.abs(expected[name]).max(initial=0.0)), 1e-6)
                np.testing.assert_allclose(
                    found[name] / scale, expected[name] / scale, rtol=0, atol=tolerance
                )


def apply(graph, *passes):
    """Runs passes with verification; gives the lines of gain."""
    return [r.gain for r in run_passes(graph, TARGET, passes, verify=True)]


def names(block):
    """Names of a block's ops in order, constants left out."""
    return [op.name for op in block.ops if op.name != "constant"]


def kernels(graph):
    """(kind, names of its ops) of every kernel, in order."""
    return [(op.attrs["kind"], names(op.blocks[0])) for op in graph.walk() if op.name == "kernel"]


def listing(graph, *attrs):
    """The graph in short: a line for each op, constants by the name of their weight.

    Attributes are shown when named in `attrs`.
    """
    lines = []
    known = dict(zip(graph.inputs, graph.input_names, strict=True))

    def show(block, indent):
        for op in block.ops:
            if op.name == "constant":
                known[op.result] = op.attrs["name"]
                continue
            shown = [f"{a}={op.attrs[a]!r}" for a in attrs if a in op.attrs]
            arguments = ", ".join([*(known[v] for v in op.operands), *shown])
            for value in op.results:
                known[value] = f"%{len([v for v in known.values() if v.startswith('%')])}"
            made = ", ".join(known[v] for v in op.results)
            lines.append(f"{indent}{made} = {op.name}({arguments})")
            for inner in op.blocks:
                known.update({v: f"a{i}" for i, v in enumerate(inner.arguments)})
                show(inner, indent + "  ")
        if block.terminator:
            lines.append(f"{indent}-> {', '.join(known[v] for v in block.yields)}")

    show(graph.body, "")
    return "\n".join(lines)
