"""What layers compute: products, convolutions, pools, normalisations, attention.

Images are [N, C, *S]; arguments and their order are PyTorch's. Everything is inference: dropout is
the identity, and batch normalisation reads its running statistics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bireme.frontend.nn.dispatch import place
from bireme.frontend.nn.functional.pointwise import where
from bireme.frontend.nn.tensor import Tensor, TensorLike, matmul, op, tensor
from bireme.ir import BiremeError, Dim

Sizes = int | Sequence[int]
Padding = int | Sequence[int] | str


def per_axis(value: Sizes, rank: int, what: str) -> tuple[int, ...]:
    """One number for each spatial axis. Raises BM1006."""
    sizes = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(sizes) != rank:
        raise BiremeError("BM1006", f"{what} {value} for {rank} spatial axes", where=place())
    return sizes


def linear(x: TensorLike, weight: TensorLike, bias: TensorLike | None = None) -> Tensor:
    """The product of x [..., in] with a weight [out, in], plus a bias: [..., out]."""
    result = matmul(x, tensor(weight).transpose(0, 1))
    return result if bias is None else result + bias


def _bias(y: Tensor, bias: TensorLike | None) -> Tensor:
    """Adds one number for each channel."""
    if bias is None:
        return y
    value = tensor(bias)
    return y + value.reshape(1, value.shape[0], *[1] * (y.ndim - 2))


def _image(x: TensorLike, rank: int, what: str) -> Tensor:
    value = tensor(x)
    if value.ndim != rank + 2:
        detail = f"{what} takes [N, C] and {rank} spatial axes; found {value.type}"
        raise BiremeError(
            "BM2004", detail, where=place(), hint="add a batch axis with unsqueeze(0)"
        )
    return value


def conv(
    x: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution of [N, C, *S] with a weight [O, C/groups, *K]; padding "same" needs stride 1."""
    w = tensor(weight)
    rank = w.ndim - 2
    strides = per_axis(stride, rank, "stride")
    dilations = per_axis(dilation, rank, "dilation")
    if padding == "same":
        if set(strides) != {1}:
            raise BiremeError("BM1006", 'padding "same" needs stride 1', where=place())
        total = [d * (int(k) - 1) for d, k in zip(dilations, w.type.static_shape[2:], strict=True)]
        pads = (*(t // 2 for t in total), *(t - t // 2 for t in total))
    elif isinstance(padding, str) and padding != "valid":
        raise BiremeError("BM1006", f"padding {padding!r} is neither same nor valid", where=place())
    else:
        pads = 2 * per_axis(0 if isinstance(padding, str) else padding, rank, "padding")
    y = op(
        "conv",
        _image(x, rank, "convolution"),
        w,
        strides=strides,
        pads=pads,
        dilations=dilations,
        groups=groups,
    )
    return _bias(y, bias)


def conv_transpose(
    x: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """The gradient of `conv` with a weight [C, O/groups, *K]."""
    w = tensor(weight)
    rank = w.ndim - 2
    y = op(
        "conv_transpose",
        _image(x, rank, "transposed convolution"),
        w,
        strides=per_axis(stride, rank, "stride"),
        pads=2 * per_axis(padding, rank, "padding"),
        dilations=per_axis(dilation, rank, "dilation"),
        groups=groups,
        output_padding=per_axis(output_padding, rank, "output_padding"),
    )
    return _bias(y, bias)


def max_pool2d(
    x: TensorLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """Largest element of each window; the stride is the kernel's size unless given."""
    kernel = per_axis(kernel_size, 2, "kernel_size")
    return op(
        "max_pool",
        _image(x, 2, "pooling"),
        kernel=kernel,
        strides=kernel if stride is None else per_axis(stride, 2, "stride"),
        pads=2 * per_axis(padding, 2, "padding"),
        dilations=per_axis(dilation, 2, "dilation"),
        ceil_mode=ceil_mode,
    )


def avg_pool2d(
    x: TensorLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Mean of each window."""
    kernel = per_axis(kernel_size, 2, "kernel_size")
    return op(
        "avg_pool",
        _image(x, 2, "pooling"),
        kernel=kernel,
        strides=kernel if stride is None else per_axis(stride, 2, "stride"),
        pads=2 * per_axis(padding, 2, "padding"),
        dilations=(1, 1),
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
    )


def adaptive_avg_pool2d(x: TensorLike, output_size: Sizes) -> Tensor:
    """Means over a grid of equal windows; sizes other than 1 must divide the input's."""
    value = _image(x, 2, "pooling")
    wanted = per_axis(output_size, 2, "output_size")
    if wanted == (1, 1):
        return value.mean((2, 3), keepdims=True)
    sizes = value.shape[2:]
    if not all(isinstance(d, int) and d % w == 0 for d, w in zip(sizes, wanted, strict=True)):
        detail = f"output_size {wanted} does not divide {value.type} into equal windows"
        raise BiremeError("BM1006", detail, where=place(), hint="use output_size 1 or interpolate")
    kernel = tuple(
        d // w for d, w in zip(value.type.with_shape(sizes).static_shape, wanted, strict=True)
    )
    return avg_pool2d(value, kernel)


def batch_norm(
    x: TensorLike,
    mean: TensorLike,
    var: TensorLike,
    weight: TensorLike,
    bias: TensorLike,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) · weight + bias for each channel (Ioffe & Szegedy, 2015)."""
    return op("batch_norm", x, weight, bias, mean, var, epsilon=eps)


def _last(x: TensorLike, sizes: Sequence[int]) -> int:
    """The axis from which on `x` has these sizes. Raises BM2004."""
    value = tensor(x)
    found = value.shape[-len(sizes) :]
    if found != tuple(sizes):
        detail = f"the last axes of {value.type} are not {tuple(sizes)}"
        raise BiremeError("BM2004", detail, where=place())
    return -len(sizes)


def layer_norm(
    x: TensorLike,
    normalized_shape: Sequence[int],
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalised over the last axes, which have these sizes (Ba et al., 2016)."""
    if weight is None or bias is None:
        result = op("layer_norm", x, weight, axis=_last(x, normalized_shape), epsilon=eps)
        return result if bias is None else result + bias
    return op("layer_norm", x, weight, bias, axis=_last(x, normalized_shape), epsilon=eps)


def rms_norm(
    x: TensorLike,
    normalized_shape: Sequence[int],
    weight: TensorLike | None = None,
    eps: float = 1e-6,
) -> Tensor:
    """Divided by the root mean square over the last axes (Zhang & Sennrich, 2019)."""
    return op("rms_norm", x, weight, axis=_last(x, normalized_shape), epsilon=eps)


def group_norm(
    x: TensorLike, groups: int, weight: TensorLike, bias: TensorLike, eps: float = 1e-5
) -> Tensor:
    """Normalised over groups of channels (Wu & He, 2018)."""
    return op("group_norm", x, weight, bias, groups=groups, epsilon=eps)


def softmax(x: TensorLike, axis: int = -1) -> Tensor:
    """exp(x) over its sum along an axis."""
    return op("softmax", x, axis=axis)


def log_softmax(x: TensorLike, axis: int = -1) -> Tensor:
    """Logarithm of the softmax along an axis."""
    return op("log_softmax", x, axis=axis)


def embedding(indices: TensorLike, weight: TensorLike) -> Tensor:
    """Rows of a weight [count, width]. An index out of range is an error when run."""
    return op("gather", weight, indices, axis=0)


def dropout(x: TensorLike, p: float = 0.5) -> Tensor:  # noqa: ARG001 - PyTorch's signature
    """The identity: nothing is dropped at inference."""
    return tensor(x)


def causal_mask(length: Dim, width: Dim) -> Tensor:
    """A bool mask [length, width] by which row i looks at columns 0 to i."""
    rows = op("iota", shape=(length, 1), axis=0, dtype="int64")
    columns = op("iota", shape=(1, width), axis=1, dtype="int64")
    return columns <= rows


def attention_weights(
    query: TensorLike,
    key: TensorLike,
    masks: Sequence[TensorLike] = (),
    scale: float | None = None,
) -> Tensor:
    """The softmax of `scaled_dot_product_attention`, [..., L, S].

    A row that bool masks leave nothing to look at gives a mean, where PyTorch gives NaN.
    """
    q, k = tensor(query), tensor(key)
    if scale is None:
        scale = 1.0 / math.sqrt(q.type.with_shape(q.shape[-1:]).static_shape[0])
    scores = matmul(q, k.transpose(-2, -1)) * scale
    # The lowest finite number, not -inf: a row of them has a softmax.
    lowest = float(np.finfo(np.float16 if q.dtype.bits == 16 else q.dtype.numpy).min)
    for mask in map(tensor, masks):
        scores = scores + mask if mask.dtype.is_float else where(mask, scores, lowest)
    return softmax(scores)


def scaled_dot_product_attention(
    query: TensorLike,
    key: TensorLike,
    value: TensorLike,
    attn_mask: TensorLike | None = None,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """softmax(q·kᵀ·scale + mask)·v (Vaswani et al., 2017) for q [..., L, E], k and v [..., S, E].

    A bool mask marks the places that take part; a float mask is added; either broadcasts to
    [..., L, S]. `scale` is 1/sqrt(E) unless given.
    """
    q, k = tensor(query), tensor(key)
    masks = [] if attn_mask is None else [attn_mask]
    if is_causal:
        masks.append(causal_mask(q.shape[-2], k.shape[-2]))
    return matmul(attention_weights(q, k, masks, scale), value)
