"""Algebraic simplification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bireme.ir import Graph
from bireme.passes.manager import Outcome, Pass, count
from bireme.passes.rewrite import Rule, apply
from bireme.passes.rules import arithmetic, recognise, shape, sinking
from bireme.targets.description import Description

RULES: list[Rule] = [*recognise.RULES, *arithmetic.RULES, *shape.RULES, *sinking.RULES]


@dataclass(frozen=True)
class Simplify(Pass):
    """Applies identities of arithmetic and of shapes until none fits.

    Before::

        %0 = transpose(%x) {perm = [0, 2, 1]}
        %1 = relu(%0)
        %2 = transpose(%1) {perm = [0, 2, 1]}
        %3 = mul(%2, %one)

    After::

        %0 = relu(%x)

    The rules are lists in `passes/rules/`: `arithmetic` (neutral operands, casts, combined
    constants), `shape` (moves that do nothing, merged moves), `sinking` (moves go behind
    element-wise ops to meet each other), `recognise` (softmax, layer_norm, rms_norm, gelu and hard
    swish spelt out). Integers stay exact; floats keep infinities and NaNs, but may differ by
    rounding and in the sign of zero.
    """

    name: ClassVar[str] = "simplify"

    def run(self, graph: Graph, _description: Description, /) -> Outcome:
        used = apply(graph, RULES)
        if not used:
            return Outcome(False)
        most = sorted(used.items(), key=lambda item: (-item[1], item[0]))[:3]
        listed = ", ".join(f"{name} {times}" for name, times in most)
        return Outcome(True, f"applied {count(sum(used.values()), 'rule')} ({listed})")
