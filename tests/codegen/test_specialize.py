"""Kernels for sizes that the user names."""

from __future__ import annotations

import numpy as np
import pytest

import bireme as bm
from bireme.codegen.compiler import Options
from bireme.codegen.specialize import combinations
from bireme.ir import BiremeError, Builder, DType, Graph, SymbolRange, TensorType, symbol
from bireme.ir.reference import run
from bireme.runtime import Session, schema
from bireme.targets.x86.chips import LEVELS

WIDTH = 96


def network() -> Graph:
    """Softmax of a matrix product, [n, s, WIDTH] → [n, s, WIDTH], that takes over a microsecond."""
    graph = Graph("net")
    x = graph.add_input("x", TensorType(DType.F32, (symbol("n"), symbol("s"), WIDTH)))
    graph.set_symbol("n", SymbolRange(1, 8, 2))
    graph.set_symbol("s", SymbolRange(1, 300, 64))
    b = Builder(graph)
    weights = np.random.default_rng(0).standard_normal((WIDTH, WIDTH)).astype(np.float32)
    product = b.matmul(x, b.constant(weights, "w"))
    across = b.softmax(b.transpose(product, perm=(0, 2, 1)), axis=-1)
    graph.set_outputs([("y", b.tanh(b.transpose(across, perm=(0, 2, 1))))])
    return graph


def launches(artefact: bytes):
    """The instructions of an artefact's plan."""
    offset, size = np.frombuffer(artefact, np.uint64, 2, 24)
    plan = schema.PlanT.InitFromPackedBuf(artefact[int(offset) : int(offset + size)], 0)
    return plan, [i for i in plan.instructions if i.op == schema.Opcode.Launch]


def compiled(specialize):
    options = Options(jobs=0)
    return bm.compile(network(), specialize=specialize, options=options)


@pytest.fixture(scope="module")
def program():
    return compiled([{"s": [5, 64]}, {"n": [3], "s": [64]}])


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("s", [1, 5, 17, 64, 65])
def test_named_and_other_sizes(program, n, s):
    x = np.random.default_rng(n * 100 + s).standard_normal((n, s, WIDTH)).astype(np.float32)
    (expected,) = run(network(), {"x": x}).values()
    np.testing.assert_allclose(program(x)["y"], expected, rtol=1e-5, atol=1e-6)


def test_versions_are_in_the_plan_the_most_special_first(program):
    plan, found = launches(program._data)
    assert program.report.versions == sum(len(i.versions or ()) for i in found) > 0
    assert 0 < program.report.version_bytes < program.report.code_bytes
    sizes = [[sorted(g.value for g in v.guards) for v in i.versions] for i in found if i.versions]
    assert [[3, 64], [5], [64]] in sizes
    for instruction in found:
        for version in instruction.versions or ():
            assert version.kernel != instruction.kernel
            assert version.kernel < len(plan.kernels)


def test_nothing_is_added_unless_asked():
    program = compiled(())
    plan, found = launches(program._data)
    assert not any(i.versions for i in found)
    assert len(plan.kernels) == len({i.kernel for i in found})
    assert program.report.versions == program.report.version_bytes == 0


def test_a_launch_that_takes_no_time_gets_no_version():
    graph = Graph("small")
    x = graph.add_input("x", TensorType(DType.F32, (symbol("s"),)))
    graph.set_outputs([("y", Builder(graph).exp(x))])
    program = bm.compile(graph, specialize={"s": [4]}, options=Options(jobs=0))
    assert program.report.versions == 0


def test_combinations():
    graph = network()
    choices = [{"n": [1], "s": [16, 64]}, {"s": [16]}, {"s": [64], "n": [1]}]
    assert combinations(graph, choices) == [{"n": 1, "s": 16}, {"n": 1, "s": 64}, {"s": 16}]


@pytest.mark.parametrize(
    ("choice", "detail"),
    [
        ({"m": [1]}, "no size is called m; known: n, s"),
        ({"n": [9]}, "expected a size from 1 to 8; found 9"),
    ],
)
def test_refusals(choice, detail):
    with pytest.raises(BiremeError, match=detail) as error:
        combinations(network(), [choice])
    assert error.value.code == "BM6002"


def test_levels_share_versions(program):
    plan, _ = launches(program._data)
    assert [len(image.entries) for image in plan.images] == [len(plan.kernels)] * len(LEVELS)


def kernels_run(program, s):
    session = Session(program.model, threads=1, profile=True)
    session.run({"x": np.zeros((1, s, WIDTH), np.float32)})
    return [entry.kernel for entry in session.profile() if entry.kernel]


def test_the_run_chooses_by_its_sizes(program):
    general, large, small = (kernels_run(program, s) for s in (65, 64, 5))
    assert kernels_run(program, 17) == general
    assert set(large).isdisjoint(general)
    # At this size all but the products takes too little time for a version.
    products = [kernel for kernel in small if kernel.startswith("matmul")]
    assert products
    assert set(products).isdisjoint([*general, *large])
    assert set(small) - set(products) <= set(general)
