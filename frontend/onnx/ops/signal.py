"""Fourier transforms and their windows, as products with matrices of sines and cosines."""

from __future__ import annotations

import numpy as np

from bireme.frontend.onnx.emit import Tensor, data
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops.shape import cut, pad, reshape, transpose
from bireme.frontend.onnx.ops.table import Table
from bireme.ir import Array, BiremeError, DType
from bireme.ir.dims import floordiv

# A transform of this many points is a matrix product with as many squared elements.
_MOST_POINTS = 4096


def _matrices(points: int, bins: int, inverse: bool, dtype: DType) -> tuple[Array, Array]:
    """Cosines and sines `[points, bins]` of the transform."""
    if not 1 <= points <= _MOST_POINTS:
        raise BiremeError(
            "BM1003", f"a transform of {points} points; up to {_MOST_POINTS} are supported"
        )
    angle = 2 * np.pi / points * (np.outer(np.arange(points), np.arange(bins)) % points)
    scale = 1 / points if inverse else 1.0
    sign = 1.0 if inverse else -1.0
    cosines, sines = np.cos(angle) * scale, sign * np.sin(angle) * scale
    return cosines.astype(dtype.numpy), sines.astype(dtype.numpy)


def _transform(n: Node, x: Tensor, points: int, bins: int, inverse: bool) -> Tensor:
    """`[..., points, 1 or 2]` → `[..., bins, 2]`."""
    cosines, sines = (data(m) for m in _matrices(points, bins, inverse, x.dtype))
    parts = [reshape(n.b, cut(n.b, x, x.rank - 1, i, 1), x.shape[:-1]) for i in range(_parts(x))]
    row = [_matmul(n, part, matrix) for part in parts for matrix in (cosines, sines)]
    real, imaginary = row[0], row[1]
    if len(row) == 4:
        real = n.b.sub(real, row[3])
        imaginary = n.b.add(imaginary, row[2])
    stacked = [reshape(n.b, part, (*part.shape, 1)) for part in (real, imaginary)]
    result: Tensor = n.b.concat(*stacked, axis=x.rank - 1)
    return result


def _parts(x: Tensor) -> int:
    if x.shape[-1] not in (1, 2):
        raise BiremeError("BM1006", f"the last axis must be 1 (real) or 2 (complex): {x.type}")
    return 2 if x.shape[-1] == 2 else 1


def _matmul(n: Node, x: Tensor, matrix: Tensor) -> Tensor:
    if x.rank > 1:
        result: Tensor = n.b.matmul(x, matrix)
        return result
    return reshape(n.b, n.b.matmul(reshape(n.b, x, (1, *x.shape)), matrix), (matrix.shape[1],))


def _dft(n: Node) -> Tensor:
    x, inverse, onesided = n[0], n.flag("inverse"), n.flag("onesided")
    axis = n.integer("axis", 1) if n.opset < 20 else -2
    if n.opset >= 20 and n.get(2) is not None:
        axis = int(n.scalar(2))
    axis = n.axis(axis, x.rank)
    if axis == x.rank - 1:
        raise BiremeError("BM1006", "the last axis holds the real and imaginary part")
    points = int(n.scalar(1)) if n.get(1) is not None else x.shape[axis]
    if n.get(1) is None and inverse and onesided and isinstance(points, int):
        points = 2 * (points - 1)
    if not isinstance(points, int):
        raise BiremeError("BM1007", f"the number of points {points} is not known")
    order = [i for i in range(x.rank - 1) if i != axis] + [axis, x.rank - 1]
    x = transpose(n.b, x, order)
    have = x.shape[-2]
    if not isinstance(have, int):
        raise BiremeError("BM1007", f"the length {have} of the signal is not known")
    if onesided and inverse:
        return _inverse_real(n, x, points, order, have)
    if have < points:
        x = pad(n.b, x, [0] * x.rank, [*[0] * (x.rank - 2), points - have, 0])
    x = cut(n.b, x, x.rank - 2, 0, points)
    bins = points // 2 + 1 if onesided else points
    return transpose(n.b, _transform(n, x, points, bins, inverse), np.argsort(order).tolist())


def _inverse_real(n: Node, x: Tensor, points: int, order: list[int], have: int) -> Tensor:
    """The real signal whose one-sided spectrum is `x`: the other half mirrors it, conjugated."""
    bins = points // 2 + 1
    if _parts(x) != 2 or have < bins:
        raise BiremeError("BM1006", f"a spectrum of {bins} complex bins expected")
    x = cut(n.b, x, x.rank - 2, 0, bins)
    cosines, sines = _matrices(points, bins, True, x.dtype)
    twice = np.full((1, bins), 2.0, x.dtype.numpy)
    twice[:, 0] = 1
    if points % 2 == 0:
        twice[:, -1] = 1
    real, imaginary = (reshape(n.b, cut(n.b, x, x.rank - 1, i, 1), x.shape[:-1]) for i in (0, 1))
    result = n.b.sub(
        _matmul(n, real, data(np.ascontiguousarray((cosines * twice).T))),
        _matmul(n, imaginary, data(np.ascontiguousarray((sines * twice).T))),
    )
    return transpose(n.b, reshape(n.b, result, (*result.shape, 1)), np.argsort(order).tolist())


def _stft(n: Node) -> Tensor:
    signal, step = n[0], int(n.scalar(1))
    onesided = n.flag("onesided", True)
    window = n.get(2)
    if signal.rank not in (2, 3) or (window is not None and window.rank != 1):
        raise BiremeError("BM1006", f"the signal must be [N, length, 1 or 2]: {signal.type}")
    length = int(n.scalar(3)) if n.get(3) is not None else None
    if length is None and window is not None and isinstance(window.shape[0], int):
        length = window.shape[0]
    if signal.rank == 2:
        signal = reshape(n.b, signal, (*signal.shape, 1))
    size = signal.shape[1]
    if length is None:
        raise BiremeError("BM1007", "the length of the frames is not known")
    if length < 1 or step < 1 or n.b.bounds.less(size, length):
        raise BiremeError("BM1006", f"frames of {length} in steps of {step} in {signal.type}")
    count = floordiv(size - length, step) + 1
    n.b.require(count, 1)
    starts = n.b.mul(n.b.iota(shape=(count, 1), axis=0, dtype=DType.I64), step)
    places = n.b.add(starts, data(np.arange(length)))
    frames = n.b.gather(signal, places, axis=1)
    if window is not None:
        frames = n.b.mul(frames, reshape(n.b, window, (length, 1)))
    return _transform(n, frames, length, length // 2 + 1 if onesided else length, False)


def _mel_weights(n: Node) -> Tensor:
    """Triangular filters, evenly spaced on the mel scale (ONNX MelWeightMatrix-17)."""
    bands, points, rate = (int(n.scalar(i)) for i in range(3))
    low, high = (float(n.scalar(i)) for i in (3, 4))
    dtype = n.dtype("output_datatype", DType.F32)
    if not 0 < bands <= 1 << 16 or not 0 < points <= 1 << 20 or rate <= 0:
        raise BiremeError("BM1006", f"{bands} bands of {points} points at {rate} Hz")
    bins = points // 2 + 1
    mel_low, mel_high = (2595 * np.log10(1 + f / 700) for f in (low, high))
    mels = np.arange(bands + 2) * ((mel_high - mel_low) / (bands + 2)) + mel_low
    hertz = 700 * (np.power(10, mels / 2595) - 1)
    edges = ((points + 1) * hertz // rate).astype(int)
    weights = np.zeros((bins, bands))
    for band in range(bands):
        first, centre, last = edges[band : band + 3]
        if centre == first:
            weights[centre, band] = 1
        for k in range(first, centre + 1):
            if centre != first:
                weights[k, band] = (k - first) / (centre - first)
        for k in range(centre, last):
            if last != centre:
                weights[k, band] = (last - k) / (last - centre)
    return data(weights.astype(dtype.numpy))


TABLE: Table = {"DFT": _dft, "MelWeightMatrix": _mel_weights, "STFT": _stft}
