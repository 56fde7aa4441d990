"""The plan's scalar program: every size the runtime needs, as a straight-line table.

Equal expressions share an entry. docs/artefact.md describes the program, `runtime/schema/model.fbs`
its layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bireme.ir import Dim
from bireme.ir.dims import Atom

_FORMS = {"//": "FloorDiv", "%": "Mod", "min": "Min", "max": "Max"}


@dataclass(frozen=True)
class Entry:
    """One instruction: `op` of a constant or symbol index `a`, or of entries `a` and `b`."""

    op: str
    a: int
    b: int = 0


class Scalars:
    """Builds the table. `symbols` gives each symbol's number."""

    def __init__(self, symbols: Mapping[str, int]) -> None:
        self.entries: list[Entry] = []
        self._symbols = symbols
        self._known: dict[Entry, int] = {}

    def of(self, dim: Dim) -> int:
        """Index of the entry that holds `dim`."""
        if isinstance(dim, int):
            return self._add(Entry("Const", dim))
        total: int | None = None
        for monomial, factor in dim.terms.items():
            pieces = [self._atom(atom) for atom in monomial]
            if factor != 1 or not pieces:
                pieces.insert(0, self.of(factor))
            term = pieces[0]
            for piece in pieces[1:]:
                term = self._add(Entry("Mul", term, piece))
            total = term if total is None else self._add(Entry("Add", total, term))
        assert total is not None, "an expression has at least one term"
        return total

    def symbol(self, name: str) -> int:
        """The number of a symbol."""
        return self._symbols[name]

    def all(self, dims: Sequence[Dim]) -> list[int]:
        return [self.of(d) for d in dims]

    def _atom(self, atom: Atom) -> int:
        if isinstance(atom, str):
            return self._add(Entry("Symbol", self._symbols[atom]))
        op, left, right = atom
        return self._add(Entry(_FORMS[op], self.of(left), self.of(right)))

    def _add(self, entry: Entry) -> int:
        if entry not in self._known:
            self._known[entry] = len(self.entries)
            self.entries.append(entry)
        return self._known[entry]
