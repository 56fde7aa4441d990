"""A BERT artefact for all sizes beside artefacts compiled for one size each.

`make bench-dynamic`.

For each of 20 shapes both are run in turn, in rounds; the median of a round's runs is one sample,
the table gives the median over rounds, in milliseconds. Results are compared with ONNX Runtime's,
and the most memory that the session of all sizes has held is read after each: it reserves memory
when it meets a larger shape than before, so the largest comes first, and nothing may be added from
then on.

Layers are as wide as BERT-base's. There are 2 of them unless `--layers` says otherwise: layers are
alike, so the ratio hardly depends on their number, but the time to compile and to measure does.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import onnxruntime

from benchmarks.engines import Feed, Run
from benchmarks.measure import relative_error
from benchmarks.worker import time_runs
from bireme import zoo
from bireme.cli.output import print_table
from bireme.codegen.compiler import Options, compile_graph
from bireme.frontend import onnx
from bireme.ir import Graph
from bireme.runtime import Model, Session
from bireme.targets.registry import find

MODEL = "bert_base"
# (batch, seq): the largest first.
SHAPES = (
    (8, 128), (1, 1), (1, 2), (1, 7), (1, 16), (1, 31), (1, 32), (1, 37), (1, 64), (1, 100),
    (1, 128), (1, 200), (1, 384), (2, 7), (2, 50), (3, 17), (4, 64), (5, 23), (8, 32), (16, 5),
)  # fmt: skip
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Row:
    """One shape. Times in milliseconds, `error` relative to the largest element."""

    batch: int
    seq: int
    dynamic: float
    fixed: float
    ratio: float
    error: float


def session(graph: Graph, threads: int, options: Options) -> Session:
    """A session of a compiled graph."""
    data, report = compile_graph(graph, find("x86"), options)
    if report.versions:
        print(f"{report.versions} versions, {report.version_bytes / 1e6:.2f} MB of code")
    return Session(Model.load(data), threads=threads)


def runner(owner: Session) -> Run:
    """A function that runs a session."""
    return lambda feed: list(owner.run(feed).values())


def measure(
    runs: Sequence[Run], feed: Feed, rounds: int, seconds: float, cpu_time: bool
) -> list[list[float]]:
    """For each run the medians of interleaved rounds."""
    samples: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, times in zip(runs, samples, strict=True):
            times.append(time_runs(run, feed, seconds, cpu_time))
    return samples


def main() -> None:
    """Compiles, compares, measures, prints the table; fails when results differ or memory grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.2, help="length of a round")
    parser.add_argument("--shapes", nargs="+", help="BATCHxSEQ instead of the 20, largest first")
    parser.add_argument("--specialize", type=int, nargs="+", help="lengths with own kernels")
    parser.add_argument("--cpu-time", action="store_true", help="not wall time; one thread only")
    parser.add_argument("--json", type=Path, help="also write the results here")
    options = parser.parse_args()
    overrides: Mapping[str, Any] = {"num_layers": options.layers}
    graph = zoo.trace(MODEL, **overrides)
    choices = [{"seq": options.specialize}] if options.specialize else []
    dynamic = session(graph, options.threads, Options(specialize=choices))
    peer = onnxruntime.InferenceSession(onnx.export(graph).SerializeToString())
    shapes = [tuple(map(int, s.split("x"))) for s in options.shapes or ()] or list(SHAPES)
    rows: list[Row] = []
    reserved = 0
    for batch, seq in shapes:
        sizes = {"batch": batch, "seq": seq}
        print(f"measuring {batch} x {seq}", flush=True)
        fixed = session(zoo.trace(MODEL, sizes=sizes, **overrides), options.threads, Options())
        feed = zoo.example(MODEL, sizes, **overrides)
        runs = [runner(dynamic), runner(fixed)]
        wanted = peer.run(None, feed)
        error = max(relative_error(run(feed), wanted) for run in runs)
        if not error <= TOLERANCE:
            raise SystemExit(f"{batch} x {seq}: outputs differ by {error:.2g} of the largest")
        samples = measure(runs, feed, options.rounds, options.seconds, options.cpu_time)
        ours, theirs = map(median, samples)
        rows.append(Row(batch, seq, ours, theirs, ours / theirs, error))
        reserved = reserved or dynamic.peak_bytes
        if dynamic.peak_bytes != reserved:
            raise SystemExit(f"{batch} x {seq}: {reserved} bytes grew to {dynamic.peak_bytes}")
    print_table(
        f"{MODEL}, {options.layers} layers, float32, {options.threads} threads",
        ("batch", "seq", "all sizes ms", "this size ms", "ratio", "error"),
        [
            (
                r.batch,
                r.seq,
                f"{r.dynamic:.2f}",
                f"{r.fixed:.2f}",
                f"{r.ratio:.2f}",
                f"{r.error:.1e}",
            )
            for r in rows
        ],
    )
    print(f"worst ratio {max(r.ratio for r in rows):.3f}; held throughout: {reserved} bytes")
    if options.json:
        options.json.write_text(json.dumps([asdict(r) for r in rows], indent=2))


if __name__ == "__main__":
    main()
