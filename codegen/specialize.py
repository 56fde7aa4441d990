"""Kernels for sizes that the user names, chosen at run time.

A launch may have several versions (docs/artefact.md): the first whose sizes are those of the run is
launched instead. A version takes the same arguments, memory and weights; it is the same group of
ops, with symbols replaced by numbers before the kernel is made, so that loops, tiles and tasks fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from bireme.codegen.cache import CompiledKernel
from bireme.codegen.lower import Lowered
from bireme.codegen.plan import Instruction, Version
from bireme.codegen.spec import KernelSpec, kernel_spec
from bireme.codegen.work import phase_of, scratch_of, tasks_of
from bireme.ir import BiremeError, Graph, Op, evaluate

# Sizes of some symbols. A combination names each symbol once.
Sizes = Mapping[str, int]
# For each symbol the sizes that it may have; all of them combined.
Choices = Mapping[str, Sequence[int]]

# A launch that takes less time than this, in nanoseconds, gains nothing worth its code.
_LEAST_COST = 1000


def combinations(graph: Graph, choices: Sequence[Choices]) -> list[Sizes]:
    """Every combination of sizes of each of the choices, those of more symbols first.

    Raises BM6002 for a symbol that the graph does not have, or a size outside its range.
    """
    found: dict[tuple[tuple[str, int], ...], Sizes] = {}
    for choice in choices:
        for name, sizes in choice.items():
            _check(graph, name, sizes)
        for values in product(*choice.values()):
            sizes_of = dict(zip(choice, values, strict=True))
            found.setdefault(tuple(sorted(sizes_of.items())), sizes_of)
    return sorted(found.values(), key=len, reverse=True)


def _check(graph: Graph, name: str, sizes: Sequence[int]) -> None:
    where = f"specialize[{name!r}]"
    if name not in graph.symbols:
        known = ", ".join(graph.symbols) or "none"
        raise BiremeError("BM6002", f"no size is called {name}; known: {known}", where=where)
    limits = graph.symbols[name]
    for size in sizes:
        if size < limits.least or (limits.most is not None and size > limits.most):
            most = "any" if limits.most is None else limits.most
            detail = f"expected a size from {limits.least} to {most}; found {size}"
            raise BiremeError("BM6002", detail, where=where)


class Specialization:
    """The versions that a lowered graph is to have. `specs` are their kernels, to be numbered from
    the end of the graph's own on; `chosen` has the kernels of each launch's versions and the sizes
    that they are for, by the instruction's number.
    """

    def __init__(self, lowered: Lowered, wanted: Sequence[Sizes]) -> None:
        self._lowered = lowered
        self._first = len(lowered.specs)
        self._known = {spec.key: number for number, spec in enumerate(lowered.specs)}
        self.specs: list[KernelSpec] = []
        self.chosen: dict[int, list[tuple[int, Sizes]]] = {}
        for number, kernel in lowered.launches.items():
            launch = lowered.plan.instructions[number]
            self.chosen[number] = self._choose(launch, kernel, wanted)

    def _choose(
        self, launch: Instruction, kernel: Op, wanted: Sequence[Sizes]
    ) -> list[tuple[int, Sizes]]:
        chosen: list[tuple[int, Sizes]] = []
        symbols = {str(d) for d in launch.dims}
        for sizes in wanted:
            own = {name: size for name, size in sizes.items() if name in symbols}
            if not own or own in (s for _, s in chosen) or self._cost(launch, own) < _LEAST_COST:
                continue
            spec = kernel_spec(kernel, own)
            number = self._known.setdefault(spec.key, self._first + len(self.specs))
            if number == self._first + len(self.specs):
                self.specs.append(spec)
            chosen.append((number, own))
        return sorted(chosen, key=lambda each: len(each[1]), reverse=True)

    def _cost(self, launch: Instruction, sizes: Sizes) -> int:
        typical = {name: limits.typical for name, limits in self._lowered.plan.symbols.items()}
        return evaluate(launch.cost, {**typical, **sizes})

    def apply(
        self, compiled: Sequence[Sequence[CompiledKernel]]
    ) -> tuple[list[Sequence[CompiledKernel]], int]:
        """Gives launches their versions; drops those whose code is that of the launch itself.

        `compiled` are the kernels of the graph, then those of `specs`. Gives the kernels that are
        launched, and the number of versions.
        """
        kept: dict[int, int] = {}
        count = 0
        for number, chosen in self.chosen.items():
            launch = self._lowered.plan.instructions[number]
            versions = []
            for kernel, sizes in chosen:
                if _same(compiled[kernel], compiled[launch.kernel]):
                    continue
                place = kept.setdefault(kernel, self._first + len(kept))
                versions.append(
                    Version(
                        kernel=place,
                        guards=tuple((d, sizes[str(d)]) for d in launch.dims if str(d) in sizes),
                        tasks=tasks_of(launch, compiled[kernel]),
                        workspace=scratch_of(launch, compiled[kernel]),
                        phase=phase_of(launch, compiled[kernel]),
                    )
                )
            launch.versions = tuple(versions)
            count += len(versions)
        return [*compiled[: self._first], *(compiled[kernel] for kernel in kept)], count


def _same(a: Sequence[CompiledKernel], b: Sequence[CompiledKernel]) -> bool:
    return all(x.code == y.code and x.tasks == y.tasks for x, y in zip(a, b, strict=True))
