"""Latency of zoo models against ONNX Runtime, and as a fraction of this machine's peak: `make
bench`.

Each engine runs in a process of its own; rounds are interleaved, so that both meet the same
machine; the median of a round's runs is one sample, the table gives the median over rounds and
their spread. Outputs are compared before anything is timed. Operations are those of direct
convolution and matrix product, the peak is that of float32 multiply-adds measured in the same run
(benchmarks/peak.c), times the threads.
"""

from __future__ import annotations

import argparse
import json
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter, thread_time
from typing import Any

import numpy as np

from bireme import zoo
from bireme.cli.output import print_table
from bireme.codegen.compiler import compile_graph
from bireme.codegen.cost import CONTRACTIONS, RECURRENT, operations
from bireme.codegen.files import write_file
from bireme.frontend import onnx
from bireme.ir import Graph
from bireme.targets.registry import find


@dataclass(frozen=True)
class Case:
    """A line of the table: a zoo model with its options, the sizes of its symbols, and on how many
    threads it is measured.
    """

    model: str
    sizes: Mapping[str, int] = field(default_factory=lambda: {"batch": 1})
    options: Mapping[str, Any] = field(default_factory=dict)
    threads: tuple[int, ...] = (1, 2)


SEQUENCE = {"batch": 1, "seq": 64}
CASES = {
    "mobilenet_v1": Case("mobilenet_v1"),
    "resnet50": Case("resnet50"),
    "lstm_stack": Case("lstm_stack", SEQUENCE),
    "bigru_tagger": Case("bigru_tagger", SEQUENCE),
    "bigru_tagger, 2 layers": Case(
        "bigru_tagger", SEQUENCE, {"embedding_dim": 128, "num_layers": 2}
    ),
}
ENGINES = ("bireme", "onnxruntime")
TOLERANCE = 1e-4

Feed = dict[str, np.ndarray[Any, Any]]
Run = Callable[[Feed], list[np.ndarray[Any, Any]]]


@dataclass(frozen=True)
class Result:
    """One line of the table. Times are in milliseconds, `low` and `high` the spread of rounds."""

    model: str
    engine: str
    threads: int
    median: float
    low: float
    high: float
    peak_fraction: float


def load_bireme(folder: Path, threads: int) -> Run:
    """Runs the artefact."""
    import bireme as bm

    program = bm.load(folder / "model.bireme", threads=threads)
    return lambda feed: list(program(feed).values())


def load_onnxruntime(folder: Path, threads: int) -> Run:
    """Runs the ONNX file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
    return lambda feed: list(session.run(None, feed))


LOADERS: dict[str, Callable[[Path, int], Run]] = {
    "bireme": load_bireme,
    "onnxruntime": load_onnxruntime,
}


class Peer:
    """An engine in a process of its own."""

    def __init__(self, engine: str, folder: Path, threads: int) -> None:
        command = [
            sys.executable,
            "-m",
            "benchmarks.peers",
            "--serve",
            engine,
            str(folder),
            str(threads),
        ]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, request: tuple[str, Any]) -> Any:
        """Sends `("run", feed)` or `("time", (seconds, cpu time))`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump(request, self._process.stdin)
        self._process.stdin.flush()
        return pickle.load(self._process.stdout)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def serve(engine: str, folder: Path, threads: int) -> None:
    """The other end of `Peer`."""
    run = LOADERS[engine](folder, threads)
    feed: Feed = {}
    while True:
        try:
            what, value = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        if what == "run":
            feed = value
            answer: Any = run(feed)
        else:
            answer = time_runs(run, feed, *value)
        pickle.dump(answer, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def time_runs(run: Run, feed: Feed, seconds: float, cpu_time: bool = False) -> float:
    """Median milliseconds of the runs that fit in `seconds`, at least three, warmed up.

    With `cpu_time`, those that this thread spends computing: for one thread on a busy machine.
    """
    clock = thread_time if cpu_time else perf_counter
    run(feed)
    times: list[float] = []
    end = perf_counter() + seconds
    while perf_counter() < end or len(times) < 3:
        start = clock()
        run(feed)
        times.append((clock() - start) * 1e3)
    return median(times)


def prepare(case: Case, folder: Path) -> tuple[Feed, int]:
    """Writes both engines' files; gives inputs and the number of multiply-adds."""
    graph = zoo.trace(case.model, sizes=case.sizes, **case.options)
    folder.mkdir(parents=True)
    write_file(folder / "model.onnx", onnx.export(graph).SerializeToString())
    data, _ = compile_graph(graph, find("x86"))
    write_file(folder / "model.bireme", data)
    return zoo.example(case.model, case.sizes, **case.options), total_multiply_adds(graph)


def total_multiply_adds(graph: Graph) -> int:
    """Multiply-adds of a graph with known sizes."""
    counted = CONTRACTIONS | RECURRENT
    counts = [operations(op) for op in graph.walk() if op.name in counted]
    return sum(c for c in counts if isinstance(c, int)) // 2


def measure_peak(folder: Path) -> float:
    """GFLOP/s of one core; needs a C compiler."""
    source = Path(__file__).with_name("peak.c")
    program = folder / "peak"
    subprocess.run(["gcc", "-O3", "-march=native", "-o", program, source], check=True)
    printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return float(printed)


def compare_outputs(model: str, peers: Sequence[Peer], feed: Feed) -> None:
    """Stops when the engines disagree."""
    first, *others = [peer.ask(("run", feed)) for peer in peers]
    for other in others:
        for a, b in zip(first, other, strict=True):
            error = float(np.max(np.abs(a - b)) / np.max(np.abs(b)))
            if not error <= TOLERANCE:
                raise SystemExit(f"{model}: outputs differ by {error:.2g} of the largest")


def measure(
    model: str,
    threads: int,
    folder: Path,
    feed: Feed,
    products: int,
    peak: float,
    rounds: int,
    seconds: float,
    cpu_time: bool,
) -> list[Result]:
    """Interleaved rounds of all engines."""
    peers = [Peer(engine, folder, threads) for engine in ENGINES]
    try:
        compare_outputs(model, peers, feed)
        samples: list[list[float]] = [[] for _ in peers]
        for _ in range(rounds):
            for peer, times in zip(peers, samples, strict=True):
                times.append(peer.ask(("time", (seconds, cpu_time))))
    finally:
        for peer in peers:
            peer.close()
    limit = 2 * products / (peak * threads) / 1e6
    return [
        Result(model, engine, threads, median(times), min(times), max(times), limit / median(times))
        for engine, times in zip(ENGINES, samples, strict=True)
    ]


def print_results(results: Sequence[Result]) -> None:
    """One row a model and number of threads; a ratio above 1 says that Bireme is faster."""
    rows = []
    for ours, theirs in zip(results[::2], results[1::2], strict=True):
        rows.append(
            (
                ours.model,
                ours.threads,
                f"{ours.median:.2f} [{ours.low:.2f}, {ours.high:.2f}]",
                f"{theirs.median:.2f} [{theirs.low:.2f}, {theirs.high:.2f}]",
                f"{theirs.median / ours.median:.2f}",
                f"{ours.peak_fraction:.0%}",
                f"{theirs.peak_fraction:.0%}",
            )
        )
    columns = (
        "model",
        "threads",
        "Bireme ms",
        "ONNX Runtime ms",
        "ratio",
        "of peak",
        "its of peak",
    )
    print_table("median over rounds [least, most], float32, batch 1", columns, rows)


def main() -> None:
    """Compiles, measures, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=CASES, help=", ".join(CASES))
    parser.add_argument("--threads", type=int, nargs="+", help="instead of the case's own")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a round")
    parser.add_argument("--cpu-time", action="store_true", help="not wall time; one thread only")
    parser.add_argument("--json", type=Path, help="also write the results here")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        engine, folder, threads = options.serve
        serve(engine, Path(folder), int(threads))
        return
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as scratch:
        peak = measure_peak(Path(scratch))
        print(f"peak of one core: {peak:.1f} GFLOP/s float32", flush=True)
        for name in options.cases:
            case = CASES[name]
            feed, products = prepare(case, Path(scratch, name))
            for threads in options.threads or case.threads:
                print(f"measuring {name} with {threads} threads", flush=True)
                results += measure(
                    name,
                    threads,
                    Path(scratch, name),
                    feed,
                    products,
                    peak,
                    options.rounds,
                    options.seconds,
                    options.cpu_time,
                )
    print_results(results)
    if options.json:
        options.json.write_text(json.dumps([asdict(r) for r in results], indent=2))


if __name__ == "__main__":
    main()
