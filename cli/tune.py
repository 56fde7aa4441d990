"""`bireme tune`."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bireme._tune import tune
from bireme.cli.options import parse_constants, parse_dims, read_calibration
from bireme.cli.output import print_json, print_table
from bireme.codegen.cache import KernelCache, default_folder
from bireme.codegen.compiler import Options
from bireme.codegen.parameters import Values
from bireme.codegen.records import Database, Record, read_database
from bireme.codegen.tune.bundle import export as export_bundle
from bireme.codegen.tune.journal import Trial
from bireme.codegen.tune.profile import Wish
from bireme.codegen.tune.results import read_results
from bireme.codegen.tune.tuner import Outcome, Status, Watch
from bireme.frontend import onnx
from bireme.ir import BiremeError, Graph
from bireme.ir.errors import counted
from bireme.passes.precision import precision_for
from bireme.targets.registry import Target, find

# Rejected candidates that are shown one by one.
_SHOWN = 10


def run(
    model: Path,
    database: Path,
    target: str,
    minutes: float,
    dims: list[str] | None,
    constants: list[str] | None,
    device: str | None,
    level: str | None,
    threads: int | None,
    export: Path | None,
    winograd: bool,
    precision: str,
    calibration: list[Path] | None,
    limit: float,
    seed: int,
    jobs: int | None,
    cache: bool,
    cache_dir: Path | None,
    json: bool,
) -> None:
    """Tunes `model` and adds what was found to `database`; with `export`, writes a bundle there."""
    graph = onnx.load(model, dims=parse_dims(dims), constants=parse_constants(constants))
    options = Options(
        cache=KernelCache((cache_dir or default_folder()) if cache else None),
        jobs=jobs,
        winograd=winograd,
        precision=precision_for(precision, read_calibration(calibration, graph), limit),
    )
    if export is not None:
        wish = Wish(60 * minutes, level, seed=seed, options=options)
        _write_bundle(graph, find(target), wish, database, export, json)
        return
    with stopping() as stopped, _progress(quiet=json) as watch:
        outcome = tune(
            graph,
            database,
            target,
            minutes=minutes,
            device=device,
            level=level,
            threads=threads,
            seed=seed,
            options=options,
            watch=watch,
            stopped=stopped,
        )
    if json:
        print_json({"database": str(database), **_figures(outcome)})
    else:
        _report(outcome, database)


def merge(database: Path, parts: Sequence[Path], json: bool) -> None:
    """Adds the records of other files to `database`; of two for one kernel the better stays."""
    merged = read_database(database) if database.exists() else Database()
    before = len(merged)
    for part in parts:
        for record in read_database(part):
            merged.add(record)
    merged.write(database)
    if json:
        print_json({"database": str(database), "records": len(merged), "before": before})
    else:
        print(f"{database}: {counted(len(merged), 'record')}, {before} before")


def take_in(database: Path, files: Sequence[Path], json: bool) -> None:
    """Adds what devices made of bundles to `database`; of two records for one kernel the better
    stays.
    """
    merged = read_database(database) if database.exists() else Database()
    found = [read_results(path) for path in files]
    for record in (record for each in found for record in each.records):
        merged.add(record)
    merged.write(database)
    rejected = [each for results in found for each in results.rejected]
    unmeasured = sum(each.unmeasured for each in found)
    if json:
        print_json(
            {
                "database": str(database),
                "kept": [_record_fields(record) for each in found for record in each.records],
                "candidates": sum(each.candidates for each in found),
                "rejected": [vars(each) for each in rejected],
                "unmeasured": unmeasured,
            }
        )
        return
    for results in found:
        _show_records(results.level, results.records)
    for each in rejected[:_SHOWN]:
        print(f"{each.outcome}: {each.ops} with {_listed(each.parameters)}: {each.detail}")
    if len(rejected) > _SHOWN:
        print(f"and {len(rejected) - _SHOWN} more rejected candidates")
    if unmeasured:
        print(f"{counted(unmeasured, 'measurement')} missing: run.sh was stopped, and can go on")
    print(f"{database}: {counted(len(merged), 'record')}")


def _write_bundle(
    graph: Graph, target: Target, wish: Wish, database: Path, path: Path, json: bool
) -> None:
    known = read_database(database) if database.exists() else Database()
    with _progress(quiet=json) as watch:

        def tell(what: str, done: int, count: int) -> None:
            watch(Status(what, done, count))

        found = export_bundle(graph, target, wish, known, path, tell)
    if json:
        failed = [vars(trial) for trial in found.failed]
        print_json({"bundle": str(path), **vars(found), "failed": failed})
        return
    candidates = counted(found.candidates, "candidate")
    print(f"{path}: {candidates} for {found.level}, about {found.seconds / 60:.1f} min to measure")


def serve_at(address: str) -> None:
    """Measures for tuners on other machines until it is interrupted. Raises BM6002."""
    from bireme.codegen.tune.remote import serve

    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise BiremeError("BM6002", f"expected HOST:PORT; found {address!r}", where="--serve")
    try:
        serve(host, int(port))
    except (OSError, OverflowError) as error:
        raise BiremeError("BM6002", str(error), where="--serve") from None


@contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """Whether the user wants to stop: the first Ctrl-C asks to, the second interrupts."""
    asked: list[int] = []

    def ask(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        if len(asked) > 1:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(quiet: bool) -> Iterator[Watch]:
    """Shows on stderr where a run is, when that is a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.fields[times]}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(
        *columns, console=console, transient=True, disable=quiet or not console.is_terminal
    ) as bar:
        task = bar.add_task("starting", total=1.0, times="")

        def watch(status: Status) -> None:
            bar.update(
                task,
                description=status.what,
                completed=status.spent,
                total=status.budget,
                times=describe(status),
            )

        yield watch


def describe(status: Status) -> str:
    """The figures of a status in one line."""
    if not status.untuned:
        return ""
    best, untuned, left = (n / 1e6 for n in (status.best, status.untuned, status.left))
    return (
        f"{best:.3f} ms of {untuned:.3f}, perhaps {left:.3f} to gain; "
        f"{status.trials} tried, {status.rejected} rejected"
    )


def _report(outcome: Outcome, database: Path) -> None:
    verified = outcome.verified
    rejected = outcome.rejected
    for trial in rejected[:_SHOWN]:
        print(f"{trial.outcome}: {_place(outcome, trial)}: {trial.detail.splitlines()[0]}")
    if len(rejected) > _SHOWN:
        print(f"and {len(rejected) - _SHOWN} more rejected candidates")
    _show_records(outcome.level, verified.kept)
    tried = counted(len(outcome.trials), "candidate")
    ago = f", {outcome.resumed} of the batches in an earlier run" if outcome.resumed else ""
    print(f"{tried} tried in {outcome.seconds:.0f} s{ago}, {len(rejected)} rejected")
    if verified.differs:
        print("the model's outputs differ with the records found: none is kept")
    if verified.dropped:
        dropped = counted(len(verified.dropped), "record")
        print(f"{dropped} left out: no gain inside of the model")
    tuned, untuned = verified.nanoseconds * verified.time.value / 1e6, verified.nanoseconds / 1e6
    print(f"{tuned:.3f} ms, {untuned:.3f} ms untuned: {1 / verified.time.value:.3f} times as fast")
    print(f"{database}: {counted(len(verified.kept), 'record')} of this model")


def _show_records(level: str, records: Sequence[Record]) -> None:
    if records:
        rows = [(f"{r.gain:.2f}", r.template, r.ops, _listed(r.parameters)) for r in records]
        print_table(f"records for {level}", ("gain", "template", "ops", "parameters"), rows)


def _record_fields(record: Record) -> dict[str, object]:
    return vars(record) | {"key": vars(record.key)}


def _listed(values: Values) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(values.items()))


def _place(outcome: Outcome, trial: Trial) -> str:
    return f"{outcome.kernels.get(trial.kernel, '')} with {_listed(trial.parameters)}"


def _figures(outcome: Outcome) -> dict[str, object]:
    verified = outcome.verified
    return {
        "level": outcome.level,
        "untuned_ms": verified.nanoseconds / 1e6,
        "tuned_ms": verified.nanoseconds * verified.time.value / 1e6,
        "gain": 1 / verified.time.value,
        "kept": [_record_fields(record) for record in verified.kept],
        "dropped": len(verified.dropped),
        "differs": verified.differs,
        "trials": len(outcome.trials),
        "rejected": [
            vars(trial) | {"ops": outcome.kernels.get(trial.kernel, "")}
            for trial in outcome.rejected
        ],
        "resumed_batches": outcome.resumed,
        "seconds": outcome.seconds,
    }
