"""`profile`: where an artefact's time goes, against what this machine can do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

from bireme._advice import Finding, advise, advise_whole
from bireme._inputs import random_inputs
from bireme.codegen.classes import CONTROL, done_of_counted
from bireme.codegen.limits import Limits, machine_limits
from bireme.codegen.plan import Plan
from bireme.codegen.reader import read_plan
from bireme.codegen.residence import Traffic, extent, traffic
from bireme.ir import Array, DType, TensorType
from bireme.runtime import Model, ProfileEntry, Session, TraceEvent, pool_threads

__all__ = ["Finding", "Profile", "Step", "Total", "profile", "totals"]

COMPUTE, STEP = "compute", "launch"
# Multiply-adds of a type against those of float32: half as many elements in a vector, or twice.
_RATES = {DType.F64: 0.5, DType.BF16: 2.0}
_LEAST_RUNS, _MOST_RUNS = 5, 10_000
_WARM_UP_RUNS = 2
# Events of a run that are kept; what a loop does more is left out of the timeline.
_MOST_EVENTS = 200_000

Tell = Callable[[str, int, int], None]


class _Measured:
    """What follows from the time of one step or several, and from their operations and bytes."""

    seconds: float
    operations: float | None
    bytes: float | None
    limit_seconds: float | None

    @property
    def gflops(self) -> float | None:
        """Operations in a nanosecond."""
        return _rate(self.operations, self.seconds)

    @property
    def gbs(self) -> float | None:
        """Bytes in a nanosecond."""
        return _rate(self.bytes, self.seconds)

    @property
    def of_limit(self) -> float | None:
        """The part of the time that no code could save."""
        return _part(self.limit_seconds, self.seconds)


@dataclass(frozen=True)
class Step(_Measured):
    """One instruction of the plan over all its calls in a run.

    Attributes:
        index: its number in the plan.
        nodes: the model's own names of what it does.
        ops: the operations fused in it.
        kind: its class (`bireme.codegen.classes`), "" where the artefact does not say.
        form: size of its convolution or product, else "".
        kernel: name of the kernel that was launched, "" for other instructions.
        template: loop shape of the kernel, or what the instruction is ("copy", "loop", ...).
        version: sizes that the kernel was specialised for, "" for the launch's own.
        any_size: whether the kernel takes sizes that only run time knows.
        types: operands and results.
        calls: how often it ran in a run.
        tasks: independent units of work of a call.
        seconds: median over runs of the time of all calls; the least, where that was asked for.
        spread: lowest and highest tenth of that.
        share: part of the time of all steps.
        operations, bytes: of all calls; None where the artefact does not say.
        limit: what binds it: "compute", a level of memory ("L2", "memory"), or "launch".
        limit_seconds: the least time this machine needs; None where the artefact does not say.
        parts: that time by limit, if each were alone.
        reads, readers: steps that make its operands, and that read its results.
        findings: what is noteworthy, and what to do about it.
    """

    index: int
    nodes: tuple[str, ...]
    ops: tuple[str, ...]
    kind: str
    form: str
    kernel: str
    template: str
    version: str
    any_size: bool
    types: str
    calls: float
    tasks: int
    seconds: float
    spread: tuple[float, float]
    share: float
    operations: float | None
    bytes: float | None
    limit: str
    limit_seconds: float | None
    parts: Mapping[str, float]
    reads: tuple[int, ...] = ()
    readers: tuple[int, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Total(_Measured):
    """Several steps together: seconds of a run, share of the whole, and what they reach."""

    name: str
    steps: int
    calls: float
    seconds: float
    share: float
    operations: float | None
    bytes: float | None
    limit_seconds: float | None

    @property
    def gain_seconds(self) -> float | None:
        """Time above what this machine needs at least."""
        return None if self.limit_seconds is None else self.seconds - self.limit_seconds


@dataclass(frozen=True)
class Profile:
    """What `profile` finds.

    `steps` are all instructions of the plan, in its order; `seconds` is the median time that a run
    spends in them (with `busy` the sum of the least of each), `spread` the lowest and the highest
    tenth of runs. `overhead` is what measuring adds, as a part of `seconds`. `events` are those of
    the fastest run, `missed_events` how many of its events were not kept. `plan` has the sizes of
    this run; `missing` says what the artefact does not tell. `findings` are about the whole, those
    of a step stand with it.
    """

    model: str
    isa: str
    threads: int
    runs: int
    busy: bool
    seconds: float
    spread: tuple[float, float]
    overhead: float
    sizes: Mapping[str, int]
    limits: Limits
    steps: tuple[Step, ...]
    findings: tuple[Finding, ...]
    events: tuple[TraceEvent, ...]
    missed_events: int
    plan: Plan
    missing: tuple[str, ...]
    arena_bytes: int
    arena_lower_bound: int
    weight_bytes: int
    peak_bytes: int

    @property
    def classes(self) -> list[Total]:
        """The steps by class, the slowest class first."""
        return totals(self.steps, lambda step: step.kind or "unknown")


def profile(
    artefact: str | os.PathLike[str] | bytes,
    inputs: Mapping[str, Array] | None = None,
    *,
    sizes: Mapping[str, int | range] | None = None,
    threads: int | None = None,
    seconds: float = 3.0,
    runs: int | None = None,
    busy: bool = False,
    measure_limits: bool = False,
    progress: Tell | None = None,
) -> Profile:
    """Measures every step of an artefact over several runs and compares it with the limits of this
    machine.

    `inputs` are arrays by name; without them they are made up, of the least size that each symbol
    may have where `sizes` gives none. `runs` is how many runs are measured; None for as many as fit
    in `seconds`. `busy` is for a machine that does other work, too: of each step the least time is
    taken, not the median, and on one thread the processor time, not what passes. Limits are
    measured when they are first needed, and kept; `measure_limits` does it again. Raises
    `bireme.runtime.RuntimeFault`, and BiremeError where limits cannot be measured.
    """
    tell = progress or _silent
    model = Model.load(artefact)
    data = artefact if isinstance(artefact, bytes) else Path(artefact).read_bytes()
    feed = dict(inputs) if inputs is not None else random_inputs(model, sizes or {})
    one = min(threads or pool_threads(), pool_threads()) == 1
    plain = Session(model, threads=threads)
    plain.run(feed)  # refuses inputs that do not fit, before anything takes long
    measured = Session(
        model, threads=threads, profile=True, trace=_MOST_EVENTS, cpu_time=busy and one
    )
    tell("measuring this machine's limits", 0, 1)
    limits = machine_limits(threads, again=measure_limits)
    samples = _measure(measured, feed, seconds, runs, tell)
    known = _sizes(model, feed)
    plan, kernels = read_plan(data, known)
    middle: Callable[[Sequence[float]], float] = min if busy else median
    steps = _steps(plan, kernels, samples, limits, middle)
    whole = [sum(times) / 1e9 for times in samples.times]
    total = sum(step.seconds for step in steps) if busy else median(whole)
    calls = sum(step.calls for step in steps)
    return Profile(
        model=model.name,
        isa=model.isa,
        threads=limits.threads,
        runs=len(whole),
        busy=busy,
        seconds=total,
        spread=_tenths(whole),
        overhead=calls * limits.measuring_ns / 1e9 / total if total else 0.0,
        sizes=known,
        limits=limits,
        steps=steps,
        findings=tuple(advise_whole(steps, limits, model.isa, _tenths(whole))),
        events=samples.events,
        missed_events=samples.missed,
        plan=plan,
        missing=_missing(plan),
        arena_bytes=measured.memory.arena_bytes,
        arena_lower_bound=plan.arena_lower_bound,
        weight_bytes=model.weight_bytes,
        peak_bytes=plain.peak_bytes,
    )


def _silent(what: str, done: int, total: int) -> None:
    """Progress that nobody follows."""


# --- measuring ------------------------------------------------------------------------------------


@dataclass
class _Samples:
    """Nanoseconds and calls of each step in each run, sums before the first and after the last, and
    the events of the fastest.
    """

    times: list[list[int]]
    calls: list[list[int]]
    first: list[ProfileEntry]
    last: list[ProfileEntry]
    events: tuple[TraceEvent, ...] = ()
    missed: int = 0

    def per_run(self, get: Callable[[ProfileEntry], int]) -> list[float | None]:
        """For each step the mean over runs of a sum; None where it is not known."""
        pairs = [(get(a), get(b)) for a, b in zip(self.first, self.last, strict=True)]
        return [(b - a) / len(self.times) if a >= 0 and b >= 0 else None for a, b in pairs]


def _measure(
    session: Session,
    feed: Mapping[str, Array],
    seconds: float,
    runs: int | None,
    tell: Tell,
) -> _Samples:
    for _ in range(_WARM_UP_RUNS):
        session.run(feed)
    before = session.profile()
    samples = _Samples([], [], before, before)
    fastest = float("inf")
    start = perf_counter()
    while not _enough(len(samples.times), runs, perf_counter() - start, seconds):
        session.run(feed)
        after = session.profile()
        pairs = list(zip(before, after, strict=True))
        samples.times.append([b.nanoseconds - a.nanoseconds for a, b in pairs])
        samples.calls.append([b.calls - a.calls for a, b in pairs])
        if sum(samples.times[-1]) < fastest:
            fastest = sum(samples.times[-1])
            events, samples.missed = session.trace()
            samples.events = tuple(events)
        before = after
        done = int(1000 * min(1.0, (perf_counter() - start) / seconds)) if seconds else 1000
        tell("running", done, 1000)
    samples.last = before
    return samples


def _enough(done: int, wanted: int | None, elapsed: float, seconds: float) -> bool:
    if wanted is not None:
        return done >= wanted
    return done >= _MOST_RUNS or (done >= _LEAST_RUNS and elapsed > seconds)


def _tenths(values: Sequence[float]) -> tuple[float, float]:
    """The lowest tenth and the highest tenth."""
    if len(values) < 2:
        return values[0], values[0]
    cuts = quantiles(values, n=10, method="inclusive")
    return cuts[0], cuts[-1]


def _sizes(model: Model, feed: Mapping[str, Array]) -> dict[str, int]:
    """What the symbols are in a run of these inputs."""
    return {
        dim: int(size)
        for info in model.inputs
        for dim, size in zip(info.shape, feed[info.name].shape, strict=True)
        if isinstance(dim, str)
    }


# --- analysis -------------------------------------------------------------------------------------


def _steps(
    plan: Plan,
    kernels: Sequence[str],
    samples: _Samples,
    limits: Limits,
    average: Callable[[Sequence[float]], float],
) -> tuple[Step, ...]:
    alone = limits if limits.threads == 1 else machine_limits(1)
    rooms = [level.bytes for level in limits.levels if level.bytes is not None]
    sources = traffic(plan, rooms)
    operations = samples.per_run(lambda e: e.operations)
    moved = samples.per_run(lambda e: e.bytes)
    reads, readers = _links(plan)
    times = [[run[i] / 1e9 for run in samples.times] for i in range(len(plan.instructions))]
    middle = [average(t) for t in times]
    total = sum(middle) or 1.0
    steps = []
    for number, (row, entry) in enumerate(zip(plan.instructions, samples.last, strict=True)):
        calls = median(run[number] for run in samples.calls)
        several = row.op == "Launch" and entry.tasks >= limits.threads
        here = limits if several else alone
        source = plan.sources[row.source]
        parts = _parts(
            calls,
            operations[number],
            moved[number],
            sources.get(number, Traffic()),
            here,
            _rate_of_types(plan, row.args) / done_of_counted(source.form),
        )
        limit, least = _binding(parts)
        steps.append(
            Step(
                index=number,
                nodes=tuple(filter(None, source.node.split(", "))),
                ops=tuple(source.op.split("+")) if row.op == "Launch" else (row.op.lower(),),
                kind=source.kind or ("" if row.op == "Launch" else CONTROL),
                form=source.form,
                kernel=entry.kernel,
                template=entry.kind,
                version=_version(plan, kernels, number, entry.kernel),
                any_size=bool(row.dims) and not _version(plan, kernels, number, entry.kernel),
                types=_types(plan, number),
                calls=calls,
                tasks=entry.tasks,
                seconds=middle[number],
                spread=_tenths(times[number]),
                share=middle[number] / total,
                operations=operations[number],
                bytes=moved[number],
                limit=limit,
                limit_seconds=least if moved[number] is not None else None,
                parts=parts,
                reads=reads[number],
                readers=readers[number],
            )
        )
    return tuple(advise(steps, limits))


def _parts(
    calls: float,
    operations: float | None,
    moved: float | None,
    sources: Traffic,
    limits: Limits,
    rate: float,
) -> dict[str, float]:
    """Seconds that a step needs at least, by limit."""
    parts = {STEP: calls * limits.step_ns / 1e9}
    if operations:
        parts[COMPUTE] = operations / (limits.gflops * rate) / 1e9
    touched = sum(sources.read.values()) + sum(sources.written.values())
    if not moved or not touched:
        return parts
    # What a kernel only selects from is not moved whole.
    scale = moved / touched
    for number, level in enumerate(limits.levels):
        read, written = sources.read.get(number, 0), sources.written.get(number, 0)
        if read or written:
            least = read / level.read_gbs + written / level.write_gbs
            parts[level.name] = scale * least / 1e9
    return parts


def _binding(parts: Mapping[str, float]) -> tuple[str, float]:
    """What binds a step, and its least time: levels of memory add up, all else happens at once."""
    levels = {name: s for name, s in parts.items() if name not in (COMPUTE, STEP)}
    memory = sum(levels.values())
    compute, step = parts.get(COMPUTE, 0.0), parts[STEP]
    most = max(memory, compute, step)
    if most == step:
        return STEP, most
    return (COMPUTE if most == compute else max(levels, key=levels.__getitem__)), most


def _rate_of_types(plan: Plan, args: Sequence[int]) -> float:
    rates = [_RATES[plan.tensors[a].dtype] for a in args if plan.tensors[a].dtype in _RATES]
    return min(rates, default=1.0)


def _version(plan: Plan, kernels: Sequence[str], number: int, kernel: str) -> str:
    """The sizes that a launch's kernel is made for."""
    for version in plan.instructions[number].versions:
        if kernels[version.kernel] == kernel:
            return ",".join(str(value) for _, value in version.guards)
    return ""


def _types(plan: Plan, number: int) -> str:
    """`operands → results`, as far as they are tensors."""
    sides: tuple[list[str], list[str]] = ([], [])
    written = plan.instructions[number].written
    for tensor in plan.instructions[number].args:
        row = plan.tensors[tensor]
        sides[tensor in written].append(str(TensorType(row.dtype, row.shape)))
    return " → ".join(", ".join(side) for side in sides if side)


def _links(plan: Plan) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """For each instruction those that wrote last what it reads, and those that read what it wrote.

    What the turn before of a loop wrote does not count.
    """
    extents = [extent(plan, n) for n in range(len(plan.tensors))]
    wrote: list[tuple[int, tuple[int, int, int]]] = []  # the latest last
    reads: list[set[int]] = []
    for number, row in enumerate(plan.instructions):
        found: set[int] = set()
        for tensor in set(row.args) - set(row.written):
            found |= _writers(extents[tensor], wrote)
        reads.append(found)
        wrote += [(number, extents[tensor]) for tensor in row.written]
    readers: list[set[int]] = [set() for _ in reads]
    for number, sources in enumerate(reads):
        for source in sources:
            readers[source].add(number)
    return [tuple(sorted(r)) for r in reads], [tuple(sorted(r)) for r in readers]


def _writers(
    wanted: tuple[int, int, int], wrote: Sequence[tuple[int, tuple[int, int, int]]]
) -> set[int]:
    """Who wrote the bytes of an extent last."""
    space, *rest = wanted
    missing = [(rest[0], rest[1])]
    found: set[int] = set()
    for number, (where, start, end) in reversed(wrote):
        if not missing:
            break
        if where != space:
            continue
        left = [
            part
            for low, high in missing
            for part in ((low, min(high, start)), (max(low, end), high))
            if part[0] < part[1]
        ]
        if sum(high - low for low, high in left) < sum(high - low for low, high in missing):
            found.add(number)
            missing = left
    return found


def totals(steps: Sequence[Step], key: Callable[[Step], str]) -> list[Total]:
    """The steps in groups of one name each, the slowest group first."""
    groups: dict[str, list[Step]] = {}
    for step in steps:
        groups.setdefault(key(step), []).append(step)
    found = [
        Total(
            name,
            len(mine),
            sum(step.calls for step in mine),
            sum(step.seconds for step in mine),
            sum(step.share for step in mine),
            _sum(step.operations for step in mine),
            _sum(step.bytes for step in mine),
            _sum(step.limit_seconds for step in mine),
        )
        for name, mine in groups.items()
    ]
    return sorted(found, key=lambda total: -total.seconds)


def _sum(values: Iterable[float | None]) -> float | None:
    """None where any is unknown."""
    total = 0.0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def _rate(amount: float | None, seconds: float) -> float | None:
    return amount / seconds / 1e9 if amount is not None and seconds > 0 else None


def _part(least: float | None, seconds: float) -> float | None:
    return least / seconds if least is not None and seconds > 0 else None


def _missing(plan: Plan) -> tuple[str, ...]:
    """What the artefact does not tell about its launches."""
    launches = [i for i in plan.instructions if i.op == "Launch"]
    lacks = {
        "operations and bytes": any(i.operations is None or i.moved is None for i in launches),
        "classes": any(not plan.sources[i.source].kind for i in launches),
        "names of nodes": any(not plan.sources[i.source].node for i in launches),
    }
    return tuple(what for what, lacking in lacks.items() if lacking)
