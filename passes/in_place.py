"""Which operands a kernel may overwrite with its result.

Element-wise kernels, and the operands that only the epilogue of a contraction reads, such as the
residual of a block: element i of the operand is read for element i of the result and for no other.
"""

from __future__ import annotations

from bireme.ir import Fusion, Op, Value


def overwritable(kernel: Op) -> list[int]:
    """Numbers of the operands whose memory the kernel's only result may take over.

    Each has exactly the result's type. The caller must see to the rest: that nothing reads the
    operand later, that no other operand of the launch lies in the same memory, and that the kernel
    computes each element of its result once.
    """
    (block,) = kernel.blocks
    if len(kernel.results) != 1:
        return []
    wanted = block.yields[0].type
    return [
        number
        for number, argument in enumerate(block.arguments)
        if argument.type == wanted and _stays_in_place(argument)
    ]


def _stays_in_place(value: Value) -> bool:
    """Whether all that depends on the value reads it element by element, at its own shape."""
    waiting, seen = [value], {value}
    while waiting:
        for user, _ in waiting.pop().uses:
            if user.is_terminator:
                continue
            if user.definition.fusion is not Fusion.POINTWISE:
                return False
            if user.result.type.shape != value.type.shape:
                return False
            if user.result not in seen:
                seen.add(user.result)
                waiting.append(user.result)
    return True
