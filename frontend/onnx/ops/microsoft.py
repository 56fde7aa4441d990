"""Operators of ONNX Runtime's own domain that exporters emit."""

from __future__ import annotations

from collections.abc import Sequence

from bireme.frontend.onnx.emit import Tensor
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops.activation import hard_sigmoid
from bireme.frontend.onnx.ops.contraction import conv, gemm, matmul
from bireme.frontend.onnx.ops.shape import reshape, transpose
from bireme.frontend.onnx.ops.table import Table
from bireme.ir import BiremeError


def _gelu(n: Node) -> Tensor:
    return n.b.gelu(n[0])


def _bias_gelu(n: Node) -> Tensor:
    return n.b.gelu(n.b.add(n[0], n[1]))


def _fast_gelu(n: Node) -> Tensor:
    bias = n.get(1)
    return n.b.gelu(n[0] if bias is None else n.b.add(n[0], bias), approximate=True)


def _quick_gelu(n: Node) -> Tensor:
    return n.b.mul(n[0], n.b.sigmoid(n.b.mul(n[0], n.number("alpha", 1.702))))


def _fused_matmul(n: Node) -> Tensor:
    a, b = (_turned(n, n[i], n.flag(f"transBatch{s}"), n.flag(f"trans{s}"))
            for i, s in enumerate("AB"))  # fmt: skip
    result, alpha = matmul(n.b, a, b), n.number("alpha", 1.0)
    return result if alpha == 1.0 else n.b.mul(result, alpha)


def _turned(n: Node, x: Tensor, batch: bool, matrix: bool) -> Tensor:
    """A factor with its first axis moved behind the batch axes, and its matrices transposed."""
    order = list(range(x.rank))
    if batch and x.rank > 2:
        order = [*order[1:-1], 0, order[-1]]
    if matrix and x.rank > 1:
        order = [*order[:-2], order[-1], order[-2]]
    return transpose(n.b, x, order)


def _activated(n: Node, x: Tensor, parameters: Sequence[float]) -> Tensor:
    kind = n.text("activation", "")
    if not kind:
        return x
    if kind in ("Relu", "Sigmoid", "Tanh"):
        result: Tensor = getattr(n.b, kind.lower())(x)
        return result
    if kind == "LeakyRelu":
        return n.b.where(n.b.less(x, 0.0), n.b.mul(x, parameters[0] if parameters else 0.01), x)
    if kind == "Clip" and len(parameters) == 2:
        return n.b.minimum(n.b.maximum(x, parameters[0]), parameters[1])
    if kind == "HardSigmoid" and len(parameters) == 2:
        return hard_sigmoid(n.b, x, parameters[0], parameters[1])
    raise BiremeError("BM1006", f"activation {kind!r} with parameters {parameters}")


def _fused_conv(n: Node) -> Tensor:
    result, bias, added = conv(n, n[0], n[1]), n.get(2), n.get(3)
    if bias is not None:
        result = n.b.add(result, reshape(n.b, bias, (bias.shape[0], *[1] * (result.rank - 2))))
    if added is not None:
        result = n.b.add(result, added)
    return _activated(n, result, n.numbers("activation_params", []))


def _fused_gemm(n: Node) -> Tensor:
    names = [f"activation_{name}" for name in ("alpha", "beta", "gamma")]
    return _activated(n, gemm(n), [n.number(name) for name in names if n.has(name)])


def _skip(n: Node, bias: int | None) -> tuple[Tensor, Tensor]:
    """The sum of input, skip connection and bias, and the scale."""
    total = n.b.add(n[0], n[1])
    if bias is not None and n.get(bias) is not None:
        total = n.b.add(total, n[bias])
    return total, n[2]


def _skip_layer_norm(n: Node) -> list[Tensor | None]:
    total, scale = _skip(n, 4)
    offset = n.get(3)
    operands = [total, scale] if offset is None else [total, scale, offset]
    result = n.b.layer_norm(*operands, axis=total.rank - 1, epsilon=n.number("epsilon", 1e-12))
    return [result, None, None, total]


def _skip_rms_norm(n: Node) -> list[Tensor | None]:
    total, scale = _skip(n, 3)
    result = n.b.rms_norm(total, scale, axis=total.rank - 1, epsilon=n.number("epsilon", 1e-12))
    return [result, None, None, total]


TABLE: Table = {
    "BiasGelu": _bias_gelu,
    "FastGelu": _fast_gelu,
    "FusedConv": _fused_conv,
    "FusedGemm": _fused_gemm,
    "FusedMatMul": _fused_matmul,
    "Gelu": _gelu,
    "QuickGelu": _quick_gelu,
    "SkipLayerNormalization": _skip_layer_norm,
    "SkipSimplifiedLayerNormalization": _skip_rms_norm,
}
