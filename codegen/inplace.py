"""Which operands a kernel may overwrite with its result.

The epilogue of a contraction in tiles reads an operand only at the element that is being stored,
and stores each element once, so the result may take over the memory of an operand that nobody else
needs. The other templates calculate some elements twice, where the last vector of a row overlaps
the one before (`bireme.codegen.templates.vectors`), and the second time would read what the first
one stored.
"""

from __future__ import annotations

from bireme.codegen.spec import kernel_spec
from bireme.codegen.templates import convolution, matmul, winograd
from bireme.ir import Fusion, Op, Value


def overwritable(kernel: Op) -> list[int]:
    """Numbers of the operands whose memory the only result of `kernel` may take over."""
    if len(kernel.results) != 1:
        return []
    (block,) = kernel.blocks
    wanted = kernel.result.type
    found = [
        number
        for number, argument in enumerate(block.arguments)
        if argument.type == wanted and _read_in_step(argument, wanted.shape)
    ]
    return found if found and _in_tiles(kernel) else []


def _in_tiles(kernel: Op) -> bool:
    """Whether the kernel becomes a contraction in register tiles."""
    graph = kernel_spec(kernel).graph()
    return any(t.matches(graph) for t in (winograd, convolution, matmul))


def _read_in_step(argument: Value, shape: object) -> bool:
    """Whether every reader is an elementwise op on tensors of the result's shape."""
    return all(
        not user.is_terminator
        and user.definition.fusion is Fusion.POINTWISE
        and user.result.type.shape == shape
        for user, _ in argument.uses
    )
