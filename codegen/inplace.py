"""Which operands a kernel may overwrite with its result.

The epilogue of a contraction reads an operand only at the element that is being stored, and stores
each element once, so the result may take over the memory of an operand that nobody else needs. The
other templates calculate some elements twice, where the last vector of a row overlaps the one
before (`bireme.codegen.templates.vectors`), and the second time would read what the first one
stored.
"""

from __future__ import annotations

from bireme.ir import Fusion, Op, Value


def overwritable(kernel: Op) -> list[int]:
    """Numbers of the operands whose memory the only result of `kernel` may take over."""
    if len(kernel.results) != 1:
        return []
    (block,) = kernel.blocks
    ops = [op for op in block.ops if op.name != "constant"]
    kinds = {op.definition.fusion for op in ops}
    if Fusion.CONTRACTION not in kinds or not kinds <= {Fusion.POINTWISE, Fusion.CONTRACTION}:
        return []
    wanted = kernel.result.type
    return [
        number
        for number, argument in enumerate(block.arguments)
        if argument.type == wanted and _read_in_step(argument, wanted.shape)
    ]


def _read_in_step(argument: Value, shape: object) -> bool:
    """Whether every reader is an elementwise op on tensors of the result's shape."""
    return all(
        not user.is_terminator
        and user.definition.fusion is Fusion.POINTWISE
        and user.result.type.shape == shape
        for user, _ in argument.uses
    )
