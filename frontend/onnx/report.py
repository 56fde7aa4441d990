"""What the importer says of each node of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bireme.ir import BiremeError


class RefusedError(Exception):
    """A value comes from a node that was refused, and not even its type is known."""


@dataclass(frozen=True)
class NodeReport:
    """One node (or graph input) and whether it can be imported.

    `name` is the node's name, after the names of enclosing nodes for one inside a subgraph or a
    function. `code` is empty for a node that can be imported, else the error's code; `reason` says
    what stands in the way and `hint` what to do.
    `checked` is False for a node behind a refused one, of whose inputs not even the type is known.
    """

    name: str
    op: str
    domain: str
    opset: int
    code: str = ""
    reason: str = ""
    hint: str = ""
    checked: bool = True

    @property
    def supported(self) -> bool:
        """Whether the node can be imported."""
        return not self.code

    def __str__(self) -> str:
        """One line for people."""
        place = f"{self.name}: {self.domain + '.' if self.domain else ''}{self.op}-{self.opset}"
        return f"{place}: {self.reason}" if self.reason else place


def refusal(reports: Sequence[NodeReport]) -> BiremeError:
    """The error that lists every refused node.

    Its code is BM1003, or the refusals' own where they all have the same one.
    """
    refused = [r for r in reports if not r.supported]
    codes = {r.code for r in refused}
    lines = "".join(f"\n  {report}" for report in refused)
    count = f"{len(refused)} node{'s' if len(refused) > 1 else ''} cannot be imported:{lines}"
    if len(codes) == 1:
        hints = {r.hint for r in refused}
        return BiremeError(codes.pop(), count, hint=hints.pop() if len(hints) == 1 else "")
    return BiremeError("BM1003", count)
