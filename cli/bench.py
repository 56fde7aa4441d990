"""`bireme bench`."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import numpy as np

from bireme._inputs import random_inputs, read_inputs
from bireme.cli.options import parse_dims
from bireme.cli.output import print_json
from bireme.runtime import Model, Session

_WARM_UP_RUNS = 3
_LEAST_RUNS = 5


def run(
    artefact: Path,
    source: Path | None,
    dims: list[str] | None,
    threads: int | None,
    seconds: float,
    json: bool,
) -> None:
    """Runs the artefact for some seconds and prints the distribution of its latency."""
    start = perf_counter()
    model = Model.load(artefact)
    session = Session(model, threads=threads)
    feed = read_inputs(source, model) if source else random_inputs(model, parse_dims(dims))
    session.run(feed)
    first = perf_counter() - start
    for _ in range(_WARM_UP_RUNS):
        session.run(feed)
    times: list[float] = []
    end = perf_counter() + seconds
    while perf_counter() < end or len(times) < _LEAST_RUNS:
        start = perf_counter()
        session.run(feed)
        times.append((perf_counter() - start) * 1e3)
    least, middle, high = np.percentile(times, (0, 50, 95))
    figures = {
        "runs": len(times),
        "first_result_ms": first * 1e3,
        "min_ms": float(least),
        "median_ms": float(middle),
        "p95_ms": float(high),
        "peak_bytes": session.peak_bytes,
    }
    if json:
        print_json(figures)
        return
    print(f"median {middle:.3f} ms, best {least:.3f} ms, 95th percentile {high:.3f} ms")
    print(f"{len(times)} runs; {first * 1e3:.1f} ms from loading to the first result")
