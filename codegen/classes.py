"""Of which class an op or a kernel is, and its size in a few words: for profiles."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bireme.codegen.cost import RECURRENT
from bireme.ir import Dim, Fusion, Op, evaluate, parse
from bireme.ir.dims import symbols_of
from bireme.ir.winograd import TAPS

CONVOLUTION, DEPTHWISE, MATMUL = "convolution", "depthwise convolution", "matmul"
ATTENTION = "attention"
RECURRENCE, NORMALISATION, POOLING = "recurrence", "normalisation", "pooling"
REDUCTION, RESAMPLING, SELECTION = "reduction", "resampling", "sorting and selection"
ELEMENTWISE, MOVEMENT, CONTROL = "elementwise", "data movement", "control flow"

# The most demanding first: a kernel is of the class of its most demanding op.
CLASSES = (
    ATTENTION, CONVOLUTION, DEPTHWISE, MATMUL, RECURRENCE, NORMALISATION, POOLING, REDUCTION,
    RESAMPLING, SELECTION, ELEMENTWISE, MOVEMENT, CONTROL,
)  # fmt: skip

_BY_NAME = {
    "conv": CONVOLUTION,
    "conv_transpose": CONVOLUTION,
    "matmul": MATMUL,
    **dict.fromkeys(RECURRENT, RECURRENCE),
    **dict.fromkeys(
        ("batch_norm", "group_norm", "instance_norm", "layer_norm", "log_softmax", "lrn",
         "rms_norm", "softmax"),
        NORMALISATION,
    ),
    **dict.fromkeys(("avg_pool", "lp_pool", "max_pool"), POOLING),
    **dict.fromkeys(("resize", "grid_sample", "roi_align"), RESAMPLING),
    **dict.fromkeys(("topk", "sort_rows", "compact", "suppress"), SELECTION),
    **dict.fromkeys(("scatter_elements", "scatter_nd", "reverse_sequence"), MOVEMENT),
    **dict.fromkeys(("iota", "dim_values"), ELEMENTWISE),
}  # fmt: skip
_SYMBOLIC = re.compile(r"\{([^}]*)\}")
_WINOGRAD = re.compile(r"F\((\d+)×")
_BY_FUSION = {
    Fusion.POINTWISE: ELEMENTWISE,
    Fusion.INJECTIVE: MOVEMENT,
    Fusion.VIEW: MOVEMENT,
    Fusion.REDUCTION: REDUCTION,
    Fusion.CONTRACTION: MATMUL,
    Fusion.OPAQUE: SELECTION,
    Fusion.CONSTANT: MOVEMENT,
    Fusion.CONTROL: CONTROL,
    Fusion.SIZE: CONTROL,
}


def class_of(op: Op) -> str:
    """The class of an op, or of the most demanding op of a kernel."""
    if op.name == "kernel" and op.attrs["kind"] == ATTENTION:
        return ATTENTION
    return min((_own_class(member) for member in op.members), key=CLASSES.index)


def form_of(op: Op) -> str:
    """The size of a kernel's convolution or product, `3×3/2 64→128 at 28×28` (`3×3 F(4×4) ...` in
    Winograd's form), `128×768×3072`; else "". Two convolutions are joined by ` + `. Sizes that
    depend on symbols stand in braces.
    """
    convolutions = [_convolution(member) for member in op.members if member.name == "conv"]
    if convolutions:
        return " + ".join(convolutions)
    for member in op.members:
        if member.name == "matmul":
            return _product(member)
    return ""


def form_at(form: str, sizes: Mapping[str, int]) -> str:
    """A form with numbers in place of expressions, as far as `sizes` has their symbols."""

    def number(found: re.Match[str]) -> str:
        dim = parse(found[1])
        return str(evaluate(dim, sizes)) if symbols_of(dim) <= sizes.keys() else found[1]

    return _SYMBOLIC.sub(number, form)


def done_of_counted(form: str) -> float:
    """The part of its counted operations that a convolution of a form has to do: Winograd's takes
    one product for each point of a tile in place of one for each tap of each of its places.
    """
    found = _WINOGRAD.search(form)
    if not found:
        return 1.0
    tile = int(found[1])
    return (tile + TAPS - 1) ** 2 / (tile * TAPS) ** 2


def _own_class(op: Op) -> str:
    if op.name == "conv" and _is_depthwise(op):
        return DEPTHWISE
    return _BY_NAME.get(op.name) or _BY_FUSION[op.definition.fusion]


def _is_depthwise(op: Op) -> bool:
    """Whether every filter reads one channel."""
    rank = len(op.attrs["strides"])
    w = op.operands[1].type
    if op.attrs["out_block"] > 1:
        return w.rank == rank + 2
    return op.attrs["groups"] > 1 and w.shape[1] == 1


def _convolution(op: Op) -> str:
    strides, rank, tile = op.attrs["strides"], len(op.attrs["strides"]), op.attrs["winograd"]
    x, w, y = op.operands[0].type, op.operands[1].type, op.result.type
    depthwise, blocked = _is_depthwise(op), op.attrs["out_block"] > 1
    first = 1 if depthwise and blocked else 2
    kernel = (TAPS,) * rank if tile else w.shape[first : first + rank]
    text = _times(kernel) + f" F({tile}×{tile})" * bool(tile)
    if set(strides) != {1}:
        text += f"/{strides[0] if len(set(strides)) == 1 else _times(strides)}"
    if set(op.attrs["dilations"]) != {1}:
        text += f" dilated {_times(op.attrs['dilations'])}"
    channels = (x.shape[1] * op.attrs["in_block"], y.shape[1] * op.attrs["out_block"])
    text += f" {channels[0]}→{channels[1]}"
    if op.attrs["groups"] > 1 and not depthwise:
        text += f" in {op.attrs['groups']} groups"
    return f"{text} at {_times(y.shape[2 : 2 + rank])}"


def _product(op: Op) -> str:
    """Rows × inner size × columns, with the number of products in front."""
    *batch, rows, columns = op.result.type.shape or (1,)
    inner = op.operands[0].type.shape[-1]
    if op.operands[1].type.rank <= 2 or op.attrs["block"] > 1:  # one right-hand side for all
        for size in batch:
            rows = rows * size
        batch = []
    together = [size for size in batch if size != 1]
    return f"{_times(together)} of " * bool(together) + _times((rows, inner, columns))


def _times(sizes: tuple[Dim, ...] | list[Dim]) -> str:
    return "×".join(str(size) if isinstance(size, int) else f"{{{size}}}" for size in sizes)
