"""Has artefacts measured in a fresh process, and outlives whatever happens to it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import Protocol

from bireme.codegen.tune.measure import Measure, Measured
from bireme.codegen.wire import Refusal, receive, send
from bireme.ir import BiremeError

# What a process needs to start, in seconds, and how much longer than expected it may take.
_START, _PATIENCE = 20.0, 4.0


class MeasureFault(BiremeError):
    """Nothing was measured: the process crashed, was too slow, or the runtime reported an error.
    BM6006.
    """

    def __init__(self, why: str) -> None:
        super().__init__("BM6006", why)


class Runner(Protocol):
    """A device that measures artefacts."""

    @property
    def threads(self) -> int:
        """Threads that a run uses."""

    @property
    def cpu(self) -> str:
        """The processor, for records."""

    def measure(self, artefacts: Sequence[bytes], request: Measure, expected: float) -> Measured:
        """Measures as `request` says, whose paths and cores are filled in here. `expected` is
        about how many seconds that takes. Raises MeasureFault.
        """


@dataclass(frozen=True)
class LocalRunner:
    """The machine that the tuner runs on. `cores` are those that runs keep to."""

    cores: tuple[int, ...]

    @property
    def threads(self) -> int:
        return len(self.cores)

    @property
    def cpu(self) -> str:
        return processor()

    def measure(self, artefacts: Sequence[bytes], request: Measure, expected: float) -> Measured:
        with TemporaryDirectory(prefix="bireme-tune-") as folder:
            paths = [Path(folder, f"{number}.bireme") for number in range(len(artefacts))]
            for path, data in zip(paths, artefacts, strict=True):
                path.write_bytes(data)
            full = replace(request, paths=tuple(map(str, paths)), cores=self.cores)
            return asked(full, expected)


def asked(request: Measure, expected: float) -> Measured:
    """The answer of a process that is started for it and should take about `expected` seconds.
    Raises MeasureFault.
    """
    seconds = _START + _PATIENCE * expected
    process = subprocess.Popen(
        [sys.executable, "-m", "bireme.codegen.tune.meter"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        process_group=0,  # Ctrl-C is for the tuner, which then ends what it has begun
    )
    assert process.stdin is not None
    assert process.stdout is not None
    watchdog = Timer(seconds, process.kill)
    watchdog.start()
    try:
        send(process.stdin, request)
        answer = receive(process.stdout)
        process.wait()
    except OSError:
        answer = None
    finally:
        late = not watchdog.is_alive()
        watchdog.cancel()
        process.kill()
        process.communicate()
    if isinstance(answer, Refusal):
        raise MeasureFault(f"{answer.code}: {answer.detail}")
    if not isinstance(answer, Measured):
        how = "took too long" if late else f"ended with status {process.returncode}"
        raise MeasureFault(f"the measuring process {how}")
    return answer


def local_runner(threads: int | None) -> LocalRunner:
    """A runner on the first cores that this process may use; None: on all of them."""
    allowed = sorted(os.sched_getaffinity(0))
    return LocalRunner(tuple(allowed[: threads or len(allowed)]))


def processor() -> str:
    """The name of this machine's processor, as the system has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "")
