"""Stores a value once, with the zeros around it that a convolution needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bireme.ir import Builder, Fusion, Graph, Op
from bireme.passes.manager import Outcome, Pass, count
from bireme.passes.values import convolution_behind, pads_with_zeros
from bireme.targets.description import Description


@dataclass(frozen=True)
class PadOnce(Pass):
    """Lets every reader of a padded value read the inner part of the padded one.

    Before::

        %1 = relu(%0)                        // %0 comes from a convolution
        %2 = pad(%1) {before = [0, 0, 1, 1, 0], after = [0, 0, 1, 1, 0]}
        %3 = conv(%2, %w)
        %4 = add(%3, %1)

    After::

        %1 = relu(%0)
        %2 = pad(%1)
        %3 = conv(%2, %w)
        %4 = add(%3, slice(%2))

    Now `pad` is the only reader of the value, so the kernel that makes the value can store it into
    the padded buffer and no copy is left; a slice is an offset in the kernels that read it. Done
    for values that a convolution and element-wise ops behind it make, with one zero padding, and
    with readers that can take a slice: element-wise ops and convolutions.
    """

    name: ClassVar[str] = "pad-once"

    def run(self, graph: Graph, _description: Description, /) -> Outcome:
        moved = sum(_share(op) for op in graph.walk() if pads_with_zeros(op))
        return Outcome(moved > 0, f"spared {count(moved, 'pad')}" if moved else "")


def _share(pad: Op) -> bool:
    """Makes the pad the only reader of its operand, when it is not yet and that is of use."""
    value = pad.operands[0]
    others = [(user, operand) for user, operand in value.uses if user != pad]
    owner = value.owner
    if not others or owner is None or owner.block != pad.block or convolution_behind(value) is None:
        return False
    if not all(_takes_slice(user, operand) and user.block == pad.block for user, operand in others):
        return False
    # The pad moves up to its operand, so that it stands before all the readers.
    first = next(op for op in pad.block.ops if owner.is_before(op) and op.name != "constant")
    if first != pad:
        _move_up(pad, first)
    shape, before = value.type.shape, pad.attrs["before"]
    for user, operand in others:
        b = Builder(pad.graph, before=user).at(user)
        inner = b.slice(pad.result, starts=before, sizes=shape, steps=(1,) * len(shape))
        user.set_operand(operand, inner)
    return True


def _move_up(pad: Op, first: Op) -> None:
    for operand in pad.operands[1:]:
        owner = operand.owner
        if owner is not None and first.is_before(owner):
            owner.move_before(first)
    pad.move_before(first)


def _takes_slice(user: Op, operand: int) -> bool:
    if user.is_terminator or user.blocks:
        return False
    if user.name == "conv":
        return operand == 0
    return user.definition.fusion is Fusion.POINTWISE
