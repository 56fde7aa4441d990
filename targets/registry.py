"""The table of targets: the one place where a new target is added.

A target's module is imported only when it is asked for; it defines `CHIPS`, descriptions by chip
name, and `compile_kernel`, which turns a kernel's specification into code for one of the chip's
levels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from bireme.ir import BiremeError
from bireme.targets.description import Description, InstructionSet

_CHIPS = {"x86": "bireme.targets.x86.chips"}
_COMPILERS = {"x86": "bireme.targets.x86.compiler"}


@dataclass(frozen=True)
class Target:
    """A chip of a target, e.g. `x86:generic`."""

    description: Description

    @property
    def name(self) -> str:
        return f"{self.description.target}:{self.description.chip}"

    def compiler(self) -> Callable[[Any, InstructionSet], Any]:
        """The function that compiles a kernel; imports the target's code generator."""
        module = import_module(_COMPILERS[self.description.target])
        compiler: Callable[[Any, InstructionSet], Any] = module.compile_kernel
        return compiler


def names() -> list[str]:
    """Every `target:chip`."""
    return [f"{target}:{chip}" for target in _CHIPS for chip in _chips(target)]


def find(name: str) -> Target:
    """The target `x86` or `x86:chip`; without a chip, the first listed. Raises BM3003."""
    target, _, chip = name.partition(":")
    if target in _CHIPS:
        chips = _chips(target)
        chip = chip or next(iter(chips))
        if chip in chips:
            return Target(chips[chip])
    raise BiremeError("BM3003", f"expected one of {', '.join(names())}; found {name!r}")


def _chips(target: str) -> Mapping[str, Description]:
    chips: Mapping[str, Description] = import_module(_CHIPS[target]).CHIPS
    return chips
