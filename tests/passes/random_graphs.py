"""Random graphs for tests that a pass keeps what a graph computes."""

import numpy as np

from bireme.ir import DType
from tests.passes.support import Net


def random_graph(seed, ops=25, *, dtype=DType.F32, symbolic=True):
    """Element-wise ops, moves, reductions and products in random order over two inputs."""
    net = Net(seed)
    random = np.random.default_rng(seed)
    batch = "n" if symbolic and random.integers(2) else 2
    pool = [net.input("x", batch, 3, 4, dtype=dtype), net.input("z", 4, dtype=dtype)]
    makers = _MAKERS + (_FLOAT_MAKERS if dtype.is_float else [])
    for number in range(ops):
        net.b.at(f"node{number}")
        x = pool[random.integers(max(0, len(pool) - 6), len(pool))]
        made = makers[random.integers(len(makers))](net, x, pool, random)
        if made is not None:
            pool.append(made)
    outputs = [pool[-1], *(pool[i] for i in random.integers(2, len(pool), 2) if len(pool) > 2)]
    return net.done(*outputs)


def _constant(net, x, random):
    """A constant that broadcasts against `x`, often one that is special."""
    number = random.choice([0, 1, 2, -1, 4, 3])
    dtype = x.type.dtype.numpy
    tail = [
        n if isinstance(n, int) else 1 for n in x.type.shape[random.integers(x.type.rank + 1) :]
    ]
    if random.integers(2):
        tail = [1 if random.integers(2) else n for n in tail]
    special = np.full(tail, number, dtype)
    return net.b.constant(
        special if random.integers(3) else special + random.integers(3, size=tail).astype(dtype)
    )


def _unary(net, x, pool, random):
    return net.b.op(random.choice(["neg", "abs", "relu", "sign"]), [x]).result


def _with_constant(net, x, pool, random):
    name = random.choice(["add", "sub", "mul", "minimum", "maximum"])
    operands = [x, _constant(net, x, random)]
    return net.b.op(name, operands if random.integers(3) else operands[::-1]).result


def _binary(net, x, pool, random):
    same = [v for v in pool if v.type == x.type]
    other = same[random.integers(len(same))]
    return net.b.op(random.choice(["add", "sub", "mul", "maximum"]), [x, other]).result


def _where(net, x, pool, random):
    same = [v for v in pool if v.type == x.type]
    condition = net.b.less(x, same[random.integers(len(same))])
    return net.b.where(condition, x, same[random.integers(len(same))])


def _transpose(net, x, pool, random):
    return net.b.transpose(x, perm=random.permutation(x.type.rank))


def _reshape(net, x, pool, random):
    shape = list(x.type.shape)
    kind = random.integers(3)
    if kind == 0 and x.type.rank < 5:
        shape.insert(random.integers(len(shape) + 1), 1)
    elif kind == 1 and 1 in shape:
        shape.remove(1)
    elif len(shape) > 1:
        at = random.integers(len(shape) - 1)
        shape[at : at + 2] = [shape[at] * shape[at + 1]]
    return net.b.reshape(x, shape=shape)


def _slice(net, x, pool, random):
    shape = x.type.shape
    axis = random.integers(len(shape)) if shape else 0
    if not shape or not isinstance(shape[axis], int) or shape[axis] < 2:
        return None
    starts, sizes, steps = [0] * len(shape), list(shape), [1] * len(shape)
    if random.integers(2):
        starts[axis], steps[axis] = shape[axis] - 1, -1
    else:
        starts[axis], sizes[axis] = 1, shape[axis] - 1
    return net.b.slice(x, starts=starts, sizes=sizes, steps=steps)


def _pad(net, x, pool, random):
    if x.type.rank == 0:
        return None
    before, after = random.integers(2, size=(2, x.type.rank))
    return net.b.pad(x, before=before, after=after)


def _expand(net, x, pool, random):
    return (
        net.b.expand(x, shape=(random.integers(1, 3), *x.type.shape)) if x.type.rank < 4 else None
    )


def _concat(net, x, pool, random):
    if x.type.rank == 0:
        return None
    same = [v for v in pool if v.type == x.type]
    axis = random.integers(x.type.rank)
    return net.b.concat(x, same[random.integers(len(same))], axis=axis)


def _reduce(net, x, pool, random):
    axes = [i for i in range(x.type.rank) if random.integers(2)]
    if not axes:
        return None
    name = random.choice(["reduce_sum", "reduce_max", "reduce_min"])
    return net.b.op(name, [x], axes=axes, keepdims=bool(random.integers(2))).result


def _gather(net, x, pool, random):
    shape = x.type.shape
    if not shape or not isinstance(shape[0], int):
        return None
    index = random.integers(-shape[0], shape[0], size=random.integers(3) * [1])
    return net.b.gather(x, net.b.constant(np.asarray(index, np.int64)), axis=0)


def _matmul(net, x, pool, random):
    if x.type.rank < 2 or not isinstance(x.type.shape[-1], int):
        return None
    w = random.integers(-2, 3, (x.type.shape[-1], 3)).astype(x.type.dtype.numpy)
    return net.b.matmul(x, net.b.constant(w, "w"))


def _softmax(net, x, pool, random):
    return net.b.softmax(x, axis=-1) if x.type.rank else None


def _transcendental(net, x, pool, random):
    return net.b.op(random.choice(["tanh", "sigmoid", "erf"]), [x]).result


def _layer_norm(net, x, pool, random):
    return net.b.layer_norm(x, axis=-1) if x.type.rank else None


_MAKERS = [
    _unary, _with_constant, _with_constant, _binary, _binary, _where, _transpose, _reshape, _slice,
    _pad, _expand, _concat, _reduce, _gather, _matmul,
]  # fmt: skip
_FLOAT_MAKERS = [_softmax, _transcendental, _transcendental, _layer_norm]
