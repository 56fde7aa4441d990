"""Dead-code elimination."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from bireme.ir import Graph, Op
from bireme.passes.manager import Outcome, Pass, count
from bireme.passes.rewrite import remove_unused
from bireme.passes.values import symbols_used
from bireme.targets.description import Description


@dataclass(frozen=True)
class Dce(Pass):
    """Removes ops whose results nothing reads, in every region, and weights that no op names.

    Before::

        %0 = exp(%x)
        %1 = relu(%x)
        return %1

    After::

        %0 = relu(%x)
        return %0

    Ops have no side effects; a removed op can no longer report a run-time fault.
    """

    name: ClassVar[str] = "dce"

    def run(self, graph: Graph, _description: Description, /) -> Outcome:
        removed = remove_unused(graph.body) + _remove_unused_sizes(graph)
        named = {op.attrs["name"] for op in graph.walk() if op.name == "constant"}
        unused = [name for name in graph.weights if name not in named]
        for name in unused:
            del graph.weights[name]
        if not removed and not unused:
            return Outcome(False)
        return Outcome(True, f"removed {count(removed, 'op')} and {count(len(unused), 'weight')}")


def _remove_unused_sizes(graph: Graph) -> int:
    """Removes what binds a size that nothing uses, and what that alone needed."""
    removed = 0
    while True:
        used = Counter(name for op in graph.walk() for name in symbols_used(op) if not op.blocks)
        unused = [op for op in graph.walk() if op.binds and not _is_needed(op, used)]
        if not unused:
            return removed
        for op in unused:
            op.erase()
        removed += len(unused) + remove_unused(graph.body)


def _is_needed(binder: Op, used: Counter[str]) -> bool:
    """Whether a result or a size is used, or sizes are compared, which tells wrong data."""
    if any(v.uses for v in binder.results) or binder.attrs.get("equal"):
        return True
    own = symbols_used(binder)
    return any(used[name] > (name in own) for name in binder.binds)
