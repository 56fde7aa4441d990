"""Whatever parameters a kernel of any template gets, its results are the default's."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

import bireme.zoo as zoo
from bireme.codegen.compiler import prepare
from bireme.codegen.kernel import emit_kernel
from bireme.codegen.parameters import Choice
from bireme.codegen.records import key_of
from bireme.codegen.spec import KernelSpec
from bireme.codegen.tune.case import Case
from bireme.codegen.tune.harness import Setting, harness, output_name
from bireme.codegen.tune.measure import Measure, measure
from bireme.ir import Builder, DType, Graph, TensorType, evaluate
from bireme.ir.data import random_arrays
from bireme.ir.dims import symbols_of
from bireme.targets.registry import find

GENERIC = find("x86:generic")
SIZES = {"batch": 2, "seq": 9}
# Kernels of each template that are tried.
KERNELS = 5
# Points tried of each kernel, anywhere on the axes, and how many are drawn to find legal ones.
POINTS, DRAWS = 1, 100


def turned() -> Graph:
    """Transposes, alone and with arithmetic: [40, 3, 56] → [3, 56, 40]."""
    graph = Graph("turned")
    x = graph.add_input("x", TensorType(DType.F32, (40, 3, 56)))
    b = Builder(graph)
    moved = b.transpose(x, perm=(1, 2, 0))
    graph.set_outputs([("moved", moved), ("waves", b.transpose(b.tanh(moved), perm=(2, 1, 0)))])
    return graph


def models() -> list[Graph]:
    """Small models that have kernels of every template with parameters between them."""
    one = {"batch": 1}
    return [
        zoo.trace("mobilenet_v1_025", image_size=32, num_classes=10, sizes=one),
        zoo.trace("resnet18", image_size=32, num_classes=10, sizes=one),
        zoo.trace("bert_tiny", vocab_size=100),
        zoo.trace("bert_tiny", vocab_size=100, sizes=one),
        turned(),
    ]


def kernels() -> list[tuple[KernelSpec, tuple[int, ...]]]:
    """Some kernels of each template, of different structures, with the sizes of their symbols."""
    found, structures = [], set()
    count: Counter[str] = Counter()
    for lowered in (prepare(graph, GENERIC)[0] for graph in models()):
        for launch in lowered.plan.instructions:
            if launch.op != "Launch":
                continue
            spec = lowered.specs[launch.kernel]
            kind = emit_kernel(spec, GENERIC.description.levels[0]).kind
            structure = key_of(spec, "x86", "").structure
            if structure not in structures and count[kind] < KERNELS:
                structures.add(structure)
                count[kind] += 1
                env = {s: SIZES.get(s, 5) for d in launch.dims for s in symbols_of(d)}
                found.append((spec, tuple(evaluate(d, env) for d in launch.dims)))
    return found


def case(spec: KernelSpec, sizes: tuple[int, ...]) -> Case:
    """Operands drawn at random; no results: those of the default are what is expected."""
    env = {f"s{number}": size for number, size in enumerate(sizes)}
    types = [value.type for value in spec.graph().inputs]
    shapes = [tuple(evaluate(d, env) for d in kind.shape) for kind in types]
    drawn = [
        (str(number), kind.dtype.numpy, shape)
        for number, (kind, shape) in enumerate(zip(types, shapes, strict=True))
    ]
    return Case(tuple(random_arrays(drawn, seed=0).values()), ())


@pytest.fixture(scope="module")
def all_kernels():
    return kernels()


@pytest.mark.parametrize("level", [0, 1], ids=lambda n: GENERIC.description.levels[n].name)
def test_results_do_not_depend_on_parameters(all_kernels, level, tmp_path):
    isa = GENERIC.description.levels[level]
    random = Random(level)
    templates, bad = set(), []
    for number, (spec, sizes) in enumerate(all_kernels):
        emitted = emit_kernel(spec, isa)
        if emitted.chosen is None:
            continue
        templates.add(emitted.kind)
        space = emitted.chosen.space
        drawn = [
            {name: random.choice(list(axis)) for name, axis in sorted(space.axes.items())}
            for _ in range(DRAWS)
        ]
        points = [values for values in drawn if space.holds(values)][:POINTS]
        # A level may have to take over the tasks of another: not what it would choose itself.
        choices = [Choice(v, v) for v in points] + [Choice({}, v) for v in drawn[:1]]
        choices.insert(0, Choice({}, {}))
        compiled = [GENERIC.compiler()(spec, isa, choice) for choice in choices]
        assert [dict(c.parameters) for c in compiled[1 : len(points) + 1]] == points
        path = tmp_path / f"{number}.bireme"
        path.write_bytes(
            harness(spec, compiled, "x86", isa, Setting(sizes, 0, 0), case(spec, sizes))
        )
        results = range(len(spec.graph().outputs))
        pairs = tuple(
            ((0, output_name(0, r)), (0, output_name(v, r)))
            for v in range(1, len(compiled))
            for r in results
        )
        found = measure(Measure((str(path),), (0,), 0.0, 1, 1, isa=isa.name, pairs=pairs))
        if any(found.wrong):
            bad.append((emitted.kind, points, found.wrong, spec.text))
    assert not bad
    assert templates >= {"convolution", "matmul", "rows", "pointwise", "transpose", "winograd"}
