"""What may be chosen about a kernel without changing its results: the parameters of its template.

A template describes them by a frozen dataclass of integers and, for each group of ops and
instruction set, by a `Space`: the analytic choice, and what else may be tried. The choice is used
unless a tuning record gives another (docs/tuning.md).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Generic, TypeVar

P = TypeVar("P")

# Values of parameters by name, as tuning records have them.
Values = Mapping[str, int]


def _always(_: Any) -> bool:
    return True


@dataclass(frozen=True)
class Space(Generic[P]):
    """Parameters of one kernel for one instruction set.

    `default` is the analytic choice. `axes` are the values that each field may have, ascending;
    `legal` says which combinations make sense, such as tiles that fit the registers. A kernel must
    be right with any combination of the axes, legal or not. `shared` are the fields that decide how
    a kernel is cut into tasks: their default and their axes must not depend on the instruction set,
    because all levels of an artefact are launched alike.
    """

    default: P
    axes: Mapping[str, Sequence[int]]
    legal: Callable[[P], bool] = _always
    shared: frozenset[str] = frozenset()

    def at(self, values: Values) -> P:
        """The default with some fields replaced."""
        return replace(self.default, **values)  # type: ignore[type-var]

    def holds(self, values: Values) -> bool:
        """Whether the values are of this space: of its axes, and legal together."""
        known = all(name in self.axes and v in self.axes[name] for name, v in values.items())
        return known and self.legal(self.at(values))

    def nearest(self, values: Values) -> Values | None:
        """The values of another kernel's parameters, moved to the next ones of this space."""
        known = {name: v for name, v in values.items() if name in self.axes}
        moved = {name: _nearest(self.axes[name], v) for name, v in known.items()}
        return moved if self.holds(moved) else None

    def choose(self, choice: Choice) -> P:
        """What is used where records say `choice`. Values that do not fit are not used."""
        shared = {n: v for n, v in choice.first.items() if n in self.shared}
        if any(v not in self.axes[n] for n, v in shared.items()):
            shared = {}
        base = self.at(shared)
        own = asdict(base) | dict(choice.own)  # type: ignore[call-overload]
        fits = all(own[n] == getattr(base, n) for n in self.shared)
        return self.at(own) if fits and self.holds(own) else base


def _nearest(axis: Sequence[int], value: int) -> int:
    at = bisect_left(axis, value)
    return min(axis[max(0, at - 1) : at + 1], key=lambda v: abs(v - value))


@dataclass(frozen=True)
class Choice:
    """What tuning records say of a kernel: the values for the level that is compiled, and those for
    the first level of the target, whose shared fields all levels take over.
    """

    own: Values
    first: Values

    @property
    def key(self) -> str:
        """A text that equal choices share; empty for none."""
        parts = (sorted(self.own.items()), sorted(self.first.items()))
        return repr(parts) if any(parts) else ""


NO_CHOICE = Choice({}, {})


@dataclass(frozen=True)
class Chosen:
    """The space of an emitted kernel and what of it was used."""

    space: Space[Any]
    values: Values

    @property
    def is_default(self) -> bool:
        """Whether it is the analytic choice."""
        return self.values == asdict(self.space.default)


class Chooser:
    """Hands a template its parameters, and remembers what it took for those who ask later."""

    def __init__(self, choice: Choice = NO_CHOICE) -> None:
        self._choice = choice
        self.chosen: Chosen | None = None

    def __call__(self, space: Space[P]) -> P:
        """The parameters to use. Asked once for each kernel."""
        assert self.chosen is None, "a kernel has one set of parameters"
        found = space.choose(self._choice)
        self.chosen = Chosen(space, asdict(found))  # type: ignore[call-overload]
        return found
