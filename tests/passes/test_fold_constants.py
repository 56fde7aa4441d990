import numpy as np
import pytest

from bireme.ir import Builder, DType
from bireme.passes.dce import Dce
from bireme.passes.fold_constants import FoldConstants
from tests.passes.support import Net, apply, listing, names, same_results


def test_what_depends_on_constants_is_computed():
    net = Net()
    x = net.input("x", 2, 3)
    w = net.b.transpose(net.weight(4, 3, name="fc.weight"), perm=(1, 0))
    w = net.b.mul(w, net.b.add(net.scalar(1), net.scalar(2)))
    graph = net.done(net.b.matmul(x, w))
    with same_results(graph):
        assert apply(graph, FoldConstants(), Dce()) == [
            "folded 3 ops", "removed 0 ops and 5 weights",
        ]  # fmt: skip
    (weight,) = graph.weights
    assert weight.startswith("fc.weight")
    assert listing(graph) == f"%0 = matmul(x, {weight})\n-> %0"
    assert graph.weights[weight].flags.c_contiguous


def test_sizes_as_data_fold_when_they_are_known():
    net = Net()
    x = net.input("x", "n", 3)
    known = net.b.dim_values(values=(2, 3))
    unknown = net.b.dim_values(values=(x.type.shape[0], 3))
    graph = net.done(known, unknown)
    with same_results(graph):
        apply(graph, FoldConstants())
    assert names(graph.body) == ["dim_values"]


@pytest.mark.parametrize(("elements", "folds"), [(1000, True), (100_000, False)])
def test_a_constant_is_not_blown_up(elements, folds):
    net = Net()
    x = net.input("x", elements)
    big = net.b.expand(net.weight(1), shape=(elements,))
    index = net.b.iota(shape=(elements,), axis=0, dtype=DType.F32)
    graph = net.done(net.b.add(net.b.add(x, big), index))
    with same_results(graph):
        apply(graph, FoldConstants())
    assert ("expand" in names(graph.body)) is not folds
    assert ("iota" in names(graph.body)) is not folds


def test_the_limit_is_an_option():
    net = Net()
    graph = net.done(net.b.iota(shape=(100,), axis=0, dtype=DType.F32))
    assert apply(graph, FoldConstants(limit_bytes=399)) == [""]
    assert apply(graph, FoldConstants(limit_bytes=400)) == ["folded 1 op"]


def test_large_weights_fold_when_they_do_not_grow():
    net = Net()
    w = net.weight(300, 300)
    graph = net.done(net.b.transpose(w, perm=(1, 0)), net.b.cast(w, dtype=DType.F64))
    with same_results(graph):
        apply(graph, FoldConstants())
    assert names(graph.body) == []


def test_a_fault_is_left_for_run_time():
    net = Net()
    data, index = net.weight(3), net.b.constant(np.array([5]))
    graph = net.done(net.b.gather(data, index))
    assert apply(graph, FoldConstants()) == [""]
    assert names(graph.body) == ["gather"]


@pytest.mark.parametrize("condition", [True, False])
def test_a_decided_branch_replaces_the_if(condition):
    net = Net()
    x = net.input("x", 3)
    branches = [net.b.block(), net.b.block()]
    for block, name in zip(branches, ("exp", "neg"), strict=True):
        inner = Builder(net.graph, block=block)
        inner.yield_([inner.op(name, [x]).result, x])
    results = net.b.op("if", [net.scalar(condition, np.bool_)], branches).results
    graph = net.done(*results)
    with same_results(graph):
        apply(graph, FoldConstants())
    assert listing(graph) == f"%0 = {'exp' if condition else 'neg'}(x)\n-> %0, x"


def test_nothing_to_fold():
    net = Net()
    graph = net.done(net.b.relu(net.input("x", 3)))
    assert apply(graph, FoldConstants()) == [""]


def test_keys_are_not_folded_and_what_a_known_key_gives_is():
    net = Net()
    places = net.b.iota(shape=(5,), dtype=DType.I64)
    fresh = net.b.random_normal(places, net.b.random_key(stream=0, seed=4), dtype=DType.F32)
    known = net.b.random_normal(places, net.scalar(9, np.uint64), dtype=DType.F32)
    graph = net.done(fresh, known)
    with same_results(graph):
        apply(graph, FoldConstants())
    assert names(graph.body) == ["random_key", "random_normal"]
