"""The rule driver: fixed points, regions, what a rule may assume."""

import pytest

from bireme.ir import DType, TensorType
from bireme.passes.rewrite import MOST_SWEEPS, apply, rule
from tests.passes.support import Net, listing, names, same_results


@rule("neg")
def _drop_double(op, b):
    inner = op.operands[0].owner
    return inner.operands[0] if inner is not None and inner.name == "neg" else None


def chain(length):
    net = Net()
    value = net.input("x", 2)
    for _ in range(length):
        value = net.b.neg(value)
    return net.done(value)


@pytest.mark.parametrize(("length", "left"), [(1, 1), (2, 0), (7, 1), (8, 0)])
def test_rules_apply_until_none_fits(length, left):
    graph = chain(length)
    with same_results(graph):
        used = apply(graph, [_drop_double])
    assert names(graph.body) == ["neg"] * left
    assert used == ({"drop-double": length // 2} if length > 1 else {})
    assert apply(graph, [_drop_double]) == {}


def test_replaced_ops_keep_their_place_in_the_model():
    @rule("neg")
    def to_abs(op, b):
        return b.abs(op.operands[0])

    net = Net()
    y = net.b.at("layer3").neg(net.input("x", 2))
    graph = net.done(y)
    apply(graph, [to_abs])
    assert [(op.name, op.node) for op in graph.body.ops] == [("abs", "layer3")]


def test_rules_reach_into_regions():
    net = Net()
    x, condition = net.input("x", 2), net.input("c", dtype=DType.BOOL)
    branches = []
    for twice in (True, False):
        block = net.b.block()
        inner = type(net.b)(net.graph, block=block)
        inner.yield_([inner.neg(inner.neg(x)) if twice else x])
        branches.append(block)
    result = net.b.op("if", [condition], branches).result
    graph = net.done(result)
    with same_results(graph):
        assert apply(graph, [_drop_double]) == {"drop-double": 1}
    assert listing(graph) == "%0 = if(c)\n  -> x\n  -> x\n-> %0"


def test_rules_that_chase_each_other_are_stopped():
    @rule("neg")
    def forth(op, b):
        return b.abs(op.operands[0])

    @rule("abs")
    def back(op, b):
        return b.neg(op.operands[0])

    graph = chain(1)
    assert apply(graph, [forth, back]) == {"forth": MOST_SWEEPS // 2, "back": MOST_SWEEPS // 2}
    graph.verify()


def test_unused_ops_are_not_offered():
    @rule("exp")
    def never(op, b):
        raise AssertionError("exp is dead")

    net = Net()
    x = net.input("x", 2)
    net.b.exp(x)
    graph = net.done(net.b.relu(x))
    apply(graph, [never])
    assert names(graph.body) == ["relu"]


def test_a_rule_may_replace_several_results():
    @rule("topk")
    def first_only(op, b):
        values, indices = b.topk(op.operands[0], k=(1,), axis=0)
        return [values, indices] if op.attrs["k"] != (1,) else None

    net = Net()
    values, indices = net.b.topk(net.input("x", 4), k=(2,), axis=0)
    graph = net.done(values, indices)
    apply(graph, [first_only])
    assert [v.type for v in graph.outputs] == [
        TensorType(DType.F32, (1,)), TensorType(DType.I64, (1,)),
    ]  # fmt: skip
