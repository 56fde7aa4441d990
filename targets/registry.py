"""The table of targets: the one place where a new target is added.

A target's module is imported only when it is asked for; it defines `CHIPS`, descriptions by chip
name, and two functions of a kernel's specification and one of the chip's levels: `emit_kernel`
chooses a template and emits it, `compile_kernel` goes on to object code, and takes what tuning
records say of the kernel as a third argument. What can be compiled is for `emit_kernel` to say, so
that `bireme check` answers without a backend compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from bireme.ir import BiremeError
from bireme.targets.description import Description

_CHIPS = {"x86": "bireme.targets.x86.chips"}
_COMPILERS = {"x86": "bireme.targets.x86.compiler"}

# (specification, level[, choice]) → codegen's `Emitted` or `CompiledKernel`. Raises BM3004, BM3005.
KernelFunction = Callable[..., Any]


@dataclass(frozen=True)
class Target:
    """A chip of a target, e.g. `x86:generic`."""

    description: Description

    @property
    def name(self) -> str:
        return f"{self.description.target}:{self.description.chip}"

    def reduced(self) -> Target:
        """The target for an artefact that calculates in reduced precision."""
        return Target(replace(self.description, levels=self.description.reduced_levels))

    def compiler(self) -> KernelFunction:
        """The function that compiles a kernel; imports the target's code generator."""
        return self._function("compile_kernel")

    def emitter(self) -> KernelFunction:
        """The function that emits a kernel, the first half of `compiler`."""
        return self._function("emit_kernel")

    def records_path(self) -> Path:
        """Where the tuning records are that come with the target, if there are any."""
        file = import_module(_CHIPS[self.description.target]).__file__
        assert file is not None
        return Path(file).with_name("records.jsonl")

    def _function(self, name: str) -> KernelFunction:
        module = import_module(_COMPILERS[self.description.target])
        function: KernelFunction = getattr(module, name)
        return function


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


def matching(name: str) -> list[Target]:
    """All targets for `all`, else the one that `find` gives."""
    return [find(each) for each in names()] if name == "all" else [find(name)]


def _chips(target: str) -> Mapping[str, Description]:
    chips: Mapping[str, Description] = import_module(_CHIPS[target]).CHIPS
    return chips
