"""From a graph to an artefact: passes, lowering, kernels, memory, file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from time import perf_counter

from bireme.codegen.arena import place_arena
from bireme.codegen.artefact import KernelRow, artefact_bytes
from bireme.codegen.build import KernelFaults, compile_kernels, emit_kernels
from bireme.codegen.cache import CompiledKernel, KernelCache, default_folder
from bireme.codegen.link import link
from bireme.codegen.lower import Lowered, lower
from bireme.codegen.records import Database, key_of, shipped
from bireme.codegen.spec import KernelSpec
from bireme.codegen.specialize import Choices, Specialization, combinations
from bireme.codegen.work import fill_launches
from bireme.ir import BiremeError, DType, Fusion, Graph, Op, together
from bireme.passes.guard import PrecisionReport
from bireme.passes.manager import Dump, PassRecord
from bireme.passes.pipeline import default, optimise
from bireme.passes.precision import Precision
from bireme.targets.registry import Target

# (what is being done, steps done, steps in all)
Progress = Callable[[str, int, int], None]


@dataclass
class Report:
    """What a compilation did: one record a pass, and the figures of the result.

    `code_bytes` includes `version_bytes`, the code of kernels for the sizes of `specialize` alone.
    `records` are the tuning records that kernels were compiled with.
    """

    passes: list[PassRecord] = field(default_factory=list)
    kernels: int = 0
    launches: int = 0
    arena_bytes: int = 0
    arena_lower_bound: int = 0
    weight_bytes: int = 0
    code_bytes: int = 0
    versions: int = 0
    version_bytes: int = 0
    records: int = 0
    precision: PrecisionReport | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Options:
    """How to compile. `cache` None keeps no kernels; `jobs` as in `compile_kernels`; `specialize`
    as in `combinations`. `records` are tuning records, None those that come with the target.
    `winograd` False keeps every convolution direct; `precision` decides which operators calculate
    with fewer bits than float32, None that none does.
    """

    cache: KernelCache | None = field(default_factory=lambda: KernelCache(default_folder()))
    jobs: int | None = None
    verify: bool = False
    dump: Dump | None = None
    specialize: Sequence[Choices] = ()
    records: Database | None = None
    winograd: bool = True
    precision: Precision | None = None


def reduced_to(options: Options) -> DType | None:
    """The element type that contractions may multiply in instead of their own, or None."""
    return None if options.precision is None else options.precision.element


_UNCACHED = Options(cache=None)


def _silent(what: str, done: int, total: int) -> None:
    """Progress that nobody follows."""


def prepare(
    graph: Graph, target: Target, options: Options = _UNCACHED, tell: Progress = _silent
) -> tuple[Lowered, list[PassRecord]]:
    """The first half of a compilation, up to the kernels: a lowered graph and what passes did.

    `graph` is not changed. Raises BiremeError for faults of the whole graph; ops that cannot be
    lowered are listed in the result.
    """
    tell("optimising the graph", 0, 1)
    graph = graph.clone()
    records = optimise(
        graph,
        target.description,
        verify=options.verify,
        dump=options.dump,
        passes=default(winograd=options.winograd, precision=options.precision),
    )
    tell("lowering", 0, 1)
    return lower(graph), records


def refusals(lowered: Lowered, errors: Mapping[int, BiremeError]) -> list[BiremeError]:
    """Every place in the model that cannot be compiled: ops that could not be lowered, and those
    whose kernel has one of `errors`, by the kernel's number.
    """
    found = list(lowered.refused)
    for number, kernel in lowered.launches.items():
        error = errors.get(lowered.plan.instructions[number].kernel)
        if error is not None:
            found += [
                BiremeError(
                    error.code, f"{error.detail}, in {_typed(op)}", where=op.node, hint=error.hint
                )
                for op in culprits(kernel, error)
            ]
    return found


def _typed(op: Op) -> str:
    """An op, or what a group does, with its types."""
    names = "+".join(each.name for each in op.members)
    taken, given = (", ".join(str(v.type) for v in side) for side in (op.operands, op.results))
    return f"{names}({taken}) → {given}"


def culprits(kernel: Op, error: BiremeError) -> list[Op]:
    """The ops of a group that an error of its kernel names, or the group when it names none."""
    (block,) = kernel.blocks
    return [op for op in block.ops if op.name == error.where] or [kernel]


def _multiplies_bf16(graph: Graph) -> bool:
    """Whether instructions for bfloat16 are of use."""
    return any(
        op.definition.fusion is Fusion.CONTRACTION and op.operands[0].type.dtype is DType.BF16
        for op in graph.walk()
    )


def compile_graph(
    graph: Graph, target: Target, options: Options | None = None, progress: Progress | None = None
) -> tuple[bytes, Report]:
    """The artefact of a graph. `graph` is not changed.

    Raises BiremeError, for everything that cannot be compiled at once.
    """
    options = options or Options()
    tell = progress or _silent
    start = perf_counter()
    report = Report()
    lowered, report.passes = prepare(graph, target, options, tell)
    report.precision = next(
        (r.details for r in report.passes if isinstance(r.details, PrecisionReport)), None
    )
    if _multiplies_bf16(lowered.graph):
        target = target.reduced()
    plan = lowered.plan
    if lowered.refused:
        raise together(refusals(lowered, emit_kernels(lowered.specs, target)[1]))
    special = Specialization(lowered, combinations(graph, options.specialize))
    specs = [*lowered.specs, *special.specs]
    records = shipped(target) if options.records is None else options.records
    try:
        compiled = compile_kernels(
            specs,
            target,
            options.cache or KernelCache(None),
            jobs=options.jobs,
            choices=partial(records.choice, target),
            progress=lambda done, total: tell("compiling kernels", done, total),
        )
    except KernelFaults as faults:
        found = refusals(lowered, faults.errors) or list(faults.errors.values())
        raise together(found) from None
    fill_launches(plan, compiled)
    kernels, report.versions = special.apply(compiled)
    tell("planning memory", 0, 1)
    place_arena(plan)
    levels = target.description.levels
    images = [
        (level.name, link([kernel[number].code for kernel in kernels]))
        for number, level in enumerate(levels)
        if kernels
    ]
    rows = [
        KernelRow(f"{kernel[0].kind}_{number}", kernel[0].kind)
        for number, kernel in enumerate(kernels)
    ]
    tell("writing the artefact", 0, 1)
    used = _used(records, target, specs, compiled)
    data = artefact_bytes(
        plan,
        rows,
        images,
        producer=f"bireme {version('bireme')}",
        target=target.description.target,
        records=used.text,
    )
    report.records = len(used)
    report.kernels, report.launches = len(rows), len(plan.instructions)
    report.arena_bytes, report.arena_lower_bound = plan.arena_bytes, plan.arena_lower_bound
    report.weight_bytes = sum(a.nbytes for a in plan.weights.values())
    report.code_bytes = sum(len(image.code) for _, image in images)
    if report.versions:
        first = len(lowered.specs)
        report.version_bytes = sum(i.import_offset - i.entries[first] for _, i in images)
    report.seconds = perf_counter() - start
    return data, report


def _used(
    records: Database,
    target: Target,
    specs: Sequence[KernelSpec],
    compiled: Sequence[Sequence[CompiledKernel]],
) -> Database:
    """The records that the kernels were compiled with; others did not fit."""
    found = Database()
    for spec, kernel in zip(specs, compiled, strict=True):
        for level, code in zip(target.description.levels, kernel, strict=True):
            record = records.get(key_of(spec, target.description.target, level.name))
            if record is not None and dict(record.parameters) == dict(code.parameters):
                found.add(record)
    return found
