import numpy as np
import pytest

from bireme.ir import DType
from bireme.passes.pack_matmul import PackMatmul, pack_columns
from tests.passes.support import Net, apply, listing, same_results

SIZES = ({"n": 1}, {"n": 5})


@pytest.mark.parametrize("columns", [16, 33])
def test_a_constant_right_operand(columns):
    net = Net()
    x = net.input("x", "n", 7)
    graph = net.done(net.b.relu(net.b.matmul(x, net.weight(7, columns))))
    with same_results(graph, sizes=SIZES):
        assert apply(graph, PackMatmul()) == ["packed 1 right operand"]
    packed = graph.outputs[0].owner.operands[0].owner.operands[1]
    assert packed.type.shape == (-(-columns // 16), 7, 16)
    assert apply(graph, PackMatmul()) == [""]


def test_what_is_left_alone():
    net = Net()
    x = net.input("x", "n", 4)
    batched = net.b.matmul(x, net.weight(2, 4, 5, name="batched"))
    integers = net.input("i", "n", 4, dtype=DType.I32)
    graph = net.done(
        net.b.matmul(x, net.b.transpose(x, perm=(1, 0))),
        batched,
        net.b.matmul(integers, net.weight(4, 3, name="whole", dtype=np.int32)),
    )
    before = listing(graph)
    assert apply(graph, PackMatmul()) == [""]
    assert listing(graph) == before


def test_missing_columns_are_zero():
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    packed = pack_columns(matrix, 4)
    assert packed.shape == (1, 2, 4)
    np.testing.assert_array_equal(packed[0, :, :3], matrix)
    np.testing.assert_array_equal(packed[0, :, 3], 0)
