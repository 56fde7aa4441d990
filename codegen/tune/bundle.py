"""A bundle: candidates to be measured on a device that has neither Python nor a network.

A zip with artefacts that launch a kernel's candidates, the program that measures them and a script
that calls it, `run.sh`. Its results (`bireme.codegen.tune.results`) say what each candidate was, so
that they can be taken in without the bundle.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from bireme.codegen.accuracy import TOLERANCE
from bireme.codegen.build import Workers
from bireme.codegen.compiler import prepare
from bireme.codegen.files import write_file
from bireme.codegen.parameters import Values
from bireme.codegen.records import Database, shipped
from bireme.codegen.tune.batch import LEAST_ROUNDS, MOST_ROUNDS, SECONDS, batch_size
from bireme.codegen.tune.journal import Batch, Trial
from bireme.codegen.tune.profile import Wish, level_names, typical_sizes
from bireme.codegen.tune.state import State
from bireme.codegen.tune.tasks import Task, estimated_times, tasks_of_model
from bireme.codegen.tune.variants import Variants
from bireme.ir import BiremeError, Graph
from bireme.runtime import measuring_program
from bireme.targets.registry import Target

# How often each artefact is measured: a candidate must be faster every time.
PASSES = 2
# About how many seconds the device takes to begin with an artefact.
_START = 0.5
FORMAT = 1
_FOLDER = "bundle"

_README = """\
Tuning candidates for {target}, {level}. On the device:

    sh run.sh [THREADS] [PROGRAM]

measures them, in about {minutes:.1f} minutes, and writes results.jsonl. It may be stopped at any
time and goes on where it was when it is called again. THREADS is how many a run uses, all by
default; PROGRAM is what measures, by default the file beside this one, which was made for Linux on
the machine that wrote the bundle. For another system compile runtime/measure.cc and link it with
the runtime.

Carry results.jsonl back and take it in with `bireme tune --import results.jsonl`.
"""

_SCRIPT = """\
#!/bin/sh
# Measures the candidates of this bundle: sh run.sh [THREADS] [PROGRAM]; see README.txt.
cd "$(dirname "$0")" || exit 1
threads=${{1:-0}}
program=${{2:-./measure}}
results=results.jsonl
limit=
command -v timeout > /dev/null && limit="timeout {seconds:.0f}"
# What a kill left of a line is ended, and measured again.
[ ! -s $results ] || [ -z "$(tail -c 1 $results)" ] || echo >> $results
grep -q '^{{"bundle": .*}}$' $results 2> /dev/null || cat candidates.jsonl >> $results
for pass in {passes}; do
  for name in {names}; do
    begin="{{\\"artefact\\": \\"$name\\", \\"pass\\": $pass, "
    grep -q "^$begin.*}}\\$" $results && continue
    if found=$($limit "$program" $name.bireme --threads $threads {options} 2> error.txt); then
      echo "$begin$found}}" >> $results
    else
      status=$?
      reason=$(head -n 1 error.txt | tr -d '"\\\\' | cut -c 1-200)
      echo "$begin\\"status\\": $status, \\"reason\\": \\"$reason\\"}}" >> $results
    fi
    echo "pass $pass: $name of {count}"
  done
done
sync
echo "done: $results"
"""


@dataclass(frozen=True)
class Bundled:
    """What a bundle has: artefacts, candidates in them, and those that did not compile. `seconds`
    is about how long the device takes.
    """

    level: str
    artefacts: int
    candidates: int
    failed: Sequence[Trial]
    seconds: float


def export(
    graph: Graph,
    target: Target,
    wish: Wish,
    known: Database,
    path: Path,
    watch: Callable[[str, int, int], None] = lambda *_: None,
) -> Bundled:
    """Writes a bundle of candidates of the model's kernels, as many as a device measures in the
    budget. Kernels that should take longest get most. Raises BM3006, BM6002, and what compiling
    raises.
    """
    names = level_names(target, wish)
    level = wish.level or names[0]
    lowered, _ = prepare(graph, target, wish.options)
    sizes = typical_sizes(lowered, wish)
    base = Database(record for record in known if record.key.level != level)
    times = estimated_times(lowered.plan, sizes)
    tasks = tasks_of_model(lowered, target, names.index(level), times, base, sizes)
    hints = Database(shipped(target))
    hints.update(known)
    state = State({task.number: task for task in tasks}, hints, wish.seed)
    count = max(1, int(wish.seconds / (PASSES * (SECONDS + _START))))
    lines, failed, candidates = [_head(target, level)], list[Trial](), 0
    archive = BytesIO()
    with (
        Workers(target, wish.options.jobs) as workers,
        ZipFile(archive, "w", ZIP_DEFLATED) as pack,
    ):
        variants = Variants(target, workers, wish.seed, wish.options.cache)
        for number, (task, tried) in enumerate(_batches(state, count)):
            watch(f"{task.template} {task.ops}", number, count)
            compiled, _ = variants.compiled(task, tried)
            kernels = [(v, k) for v, k in compiled if not isinstance(k, BiremeError)]
            failed += [
                Trial(task.number, values, "failed", detail=str(kernel))
                for values, kernel in compiled
                if isinstance(kernel, BiremeError)
            ]
            if not kernels:
                continue
            try:
                data = variants.artefact(task, [kernel for _, kernel in kernels])
            except BiremeError:
                continue  # without a reference nothing can be checked
            name = f"{len(lines):04d}"
            _add(pack, f"{name}.bireme", data)
            lines.append(_line(name, task, [values for values, _ in kernels]))
            candidates += len(kernels)
        seconds = (len(lines) - 1) * PASSES * (SECONDS + _START)
        _add(pack, "candidates.jsonl", "".join(f"{line}\n" for line in lines).encode())
        _add(pack, "run.sh", _script(level, len(lines) - 1).encode(), executable=True)
        text = _README.format(target=target.name, level=level, minutes=seconds / 60)
        _add(pack, "README.txt", text.encode())
        _add(pack, "measure", _program(), executable=True)
    write_file(path, archive.getvalue())
    return Bundled(level, len(lines) - 1, candidates, failed, seconds)


def _batches(state: State, count: int) -> Iterator[tuple[Task, list[Values]]]:
    """The batches that a search without any gain would try."""
    for _ in range(count):
        task = state.next_task()
        if task is None:
            return
        size = batch_size(task)
        tried = state.candidates(task, size)
        trials = tuple(Trial(task.number, values, "ok") for values in tried)
        state.apply(Batch(task.number, trials, {}, 1.0, len(tried) < size, 0.0))
        if tried:
            yield task, tried


def _head(target: Target, level: str) -> str:
    return json.dumps({"bundle": FORMAT, "level": level, "target": target.name})


def _line(name: str, task: Task, values: Sequence[Values]) -> str:
    fields = {
        "candidates": [dict(each) for each in values],
        "key": asdict(task.key),
        "ops": task.ops,
        "template": task.template,
    }
    # The artefact's name comes first, as in the results.
    return f'{{"artefact": "{name}", ' + json.dumps(fields)[1:]


def _script(level: str, count: int) -> str:
    options = f"--isa {level} --seconds {SECONDS:g} --least {LEAST_ROUNDS} --most {MOST_ROUNDS}"
    for dtype, allowed in TOLERANCE.items():
        name = dtype.numpy.name
        options += f" --tolerance {name}={allowed.kernel:g},{allowed.noise:g}"
    return _SCRIPT.format(
        seconds=60 * SECONDS,
        passes=" ".join(str(n + 1) for n in range(PASSES)),
        names=" ".join(f"{n + 1:04d}" for n in range(count)),
        count=f"{count:04d}",
        options=options,
    )


def _program() -> bytes:
    """The measuring program of this installation. Raises BM6001."""
    path = measuring_program()
    try:
        return path.read_bytes()
    except OSError as error:
        raise BiremeError("BM6001", str(error.strerror), where=str(path)) from None


def _add(pack: ZipFile, name: str, data: bytes, executable: bool = False) -> None:
    info = ZipInfo(f"{_FOLDER}/{name}")  # of a fixed date: equal candidates make equal bundles
    info.external_attr = (0o100755 if executable else 0o100644) << 16
    info.compress_type = ZIP_DEFLATED
    pack.writestr(info, data)
