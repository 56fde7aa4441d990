"""Interleaved rounds of engines on one model."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.engines import ENGINES, REFERENCE
from benchmarks.environments import ROOT, NotInstalled, interpreter
from benchmarks.machine import NEAR

# How far an output in float32 may be from ONNX Runtime's, relative to its largest element. In lower
# precisions the distance is a result like the time.
TOLERANCE = 1e-3
CONVERT_SECONDS = 900
# With fewer rounds in the near state than this, the others count too.
ENOUGH = 3
# An engine that takes so many times longer than the fastest is timed in one round only.
HOPELESS = 10.0


class Failed(Exception):
    """An engine cannot take part; the text is the reason, in which paths start at the checkout."""

    def __str__(self) -> str:
        return super().__str__().replace(f"{ROOT}/", "")


@dataclass(frozen=True)
class Rounds:
    """How an engine is measured: so many bursts of so many seconds."""

    count: int = 5
    seconds: float = 0.5
    cpu_time: bool = False


@dataclass
class Result:
    """One engine on one model with so many threads.

    `samples` are milliseconds, one for each round, `near` whether the cores were near each other in
    that round. `error` is relative to the largest element of each output.
    """

    model: str
    engine: str
    threads: int
    cpu_time: bool = False
    samples: list[float] = field(default_factory=list)
    near: list[bool] = field(default_factory=list)
    first_result: float | None = None
    megabytes: float | None = None
    error: float | None = None
    reason: str = ""

    @property
    def kept(self) -> list[float]:
        """Samples in the near state, or all if these are too few."""
        chosen = [s for s, near in zip(self.samples, self.near, strict=True) if near]
        return chosen if len(chosen) >= ENOUGH else self.samples

    @property
    def state(self) -> str:
        """`far` where rounds were kept although cores were far from each other."""
        return "" if all(self.near) or self.kept != self.samples else "far"

    @property
    def milliseconds(self) -> float | None:
        """The median over rounds; of processor time, which is only ever disturbed upwards, the
        least. None if the engine did not run.
        """
        if self.reason or not self.samples:
            return None
        return min(self.kept) if self.cpu_time else median(self.kept)


class Peer:
    """An engine that serves in a process of its own."""

    def __init__(self, engine: str, folder: Path, threads: int, log: Path) -> None:
        self.engine = engine
        self._log = log.open("ab")
        self._process = subprocess.Popen(
            command(engine, "serve", folder, str(threads)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=ROOT,
            env=environment(engine),
        )

    def ask(self, what: str, value: Any = None) -> Any:
        """What the engine answers. Raises Failed when it cannot, or died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            pickle.dump((what, value), self._process.stdin)
            self._process.stdin.flush()
            answer = pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError):
            status = self._process.wait()
            raise Failed(f"its process died with status {status}, see {self._log.name}") from None
        if isinstance(answer, str):
            raise Failed(answer)
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()


def command(engine: str, action: str, *rest: str | Path) -> list[str | Path]:
    """The command line of a worker. Raises NotInstalled."""
    python = interpreter(ENGINES[engine].requirements)
    return [python, "-m", "benchmarks.worker", action, engine, *rest]


def environment(engine: str) -> dict[str, str]:
    """The variables of a worker: programs that an engine calls are those of its own environment, so
    that none can touch ours. Raises NotInstalled.
    """
    programs = interpreter(ENGINES[engine].requirements).parent
    return {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}


def convert(engine: str, folder: Path) -> None:
    """Makes the engine's form of a model. Raises Failed."""
    try:
        done = subprocess.run(
            command(engine, "convert", folder),
            capture_output=True,
            cwd=ROOT,
            env=environment(engine),
            timeout=CONVERT_SECONDS,
            check=False,
        )
    except NotInstalled as error:
        raise Failed(str(error)) from None
    except subprocess.TimeoutExpired:
        raise Failed(f"conversion took over {CONVERT_SECONDS} s") from None
    (folder / f"{engine}.convert.log").write_bytes(done.stderr)
    if done.returncode:
        told = done.stdout.decode(errors="replace").strip()
        raise Failed(told or f"conversion ended with status {done.returncode}")


def relative_error(found: Sequence[Any], wanted: Sequence[Any]) -> float:
    """The largest difference, relative to the largest element of each output; inf for other
    sizes or numbers that are none. Some engines leave axes of size 1 out.
    """
    if [np.size(a) for a in found] != [np.size(b) for b in wanted]:
        return float("inf")
    flat = [[np.ravel(np.float64(a)) for a in outputs] for outputs in (found, wanted)]
    pairs = list(zip(*flat, strict=True))
    worst = max(float(np.max(np.abs(a - b)) / (np.max(np.abs(b)) or 1.0)) for a, b in pairs)
    return worst if np.isfinite(worst) else float("inf")


def _start(peer: Peer, result: Result, wanted: Sequence[Any] | None) -> Sequence[Any]:
    """Loads an engine and compares its outputs. Raises Failed."""
    result.first_result, result.megabytes = peer.ask("load")
    outputs: Sequence[Any] = peer.ask("run")
    result.error = relative_error(outputs, outputs if wanted is None else wanted)
    exact = ENGINES[peer.engine].precision == "float32"
    if result.error > (TOLERANCE if exact else 1.0):
        raise Failed(f"its outputs differ by {result.error:.1e} of the largest")
    return outputs


def _hopeless(result: Result, others: Sequence[Result]) -> bool:
    """Whether further rounds would change nothing."""
    fastest = min((min(other.samples) for other in others if other.samples), default=0.0)
    return bool(result.samples) and min(result.samples) > HOPELESS * fastest


def reference_outputs(folder: Path) -> Sequence[Any]:
    """What ONNX Runtime makes of the example input."""
    peer = Peer(REFERENCE, folder, 1, folder / "reference.log")
    try:
        peer.ask("load")
        outputs: Sequence[Any] = peer.ask("run")
        return outputs
    finally:
        peer.close()


def measure(
    model: str,
    engines: Mapping[str, str],
    folder: Path,
    threads: int,
    rounds: Rounds,
    wanted: Sequence[Any],
    round_trip: Callable[[], float],
) -> list[Result]:
    """Starts all engines, then times them in turn, round after round.

    `engines` maps each to the reason why it cannot take part, if there is one.
    """
    results = [
        Result(model, engine, threads, rounds.cpu_time, reason=reason)
        for engine, reason in engines.items()
    ]
    running: list[tuple[Peer, Result]] = []
    try:
        for result in results:
            if result.reason:
                continue
            peer = Peer(result.engine, folder, threads, folder / f"{result.engine}.log")
            running.append((peer, result))
            try:
                _start(peer, result, wanted)
            except Failed as error:
                result.reason = str(error)
        for _ in range(rounds.count):
            before = round_trip() if threads > 1 else 0.0
            for peer, result in running:
                if result.reason or _hopeless(result, results):
                    continue
                try:
                    sample = peer.ask("time", (rounds.seconds, rounds.cpu_time))
                except Failed as error:
                    result.reason = str(error)
                    continue
                after = round_trip() if threads > 1 else 0.0
                result.samples.append(sample)
                result.near.append(max(before, after) <= NEAR)
                before = after
    finally:
        for peer, _ in running:
            peer.close()
    return results
