"""Another machine as the device, through TVM's RPC.

On the device, `serve` waits for connections and measures in fresh processes, as this machine does;
it needs Bireme there, no compiler. Artefacts are uploaded to a folder that goes with the
connection, requests and answers are JSON. TVM's RPC lets whoever connects run code: serve on
networks that are trusted only.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import tvm_ffi
from tvm import rpc
from tvm.rpc import server

from bireme.codegen.tune.measure import Measure, Measured
from bireme.codegen.tune.runner import MeasureFault, asked, processor
from bireme.ir import BiremeError

_DESCRIBE, _MEASURE = "bireme.tune.describe", "bireme.tune.measure"
_KEY = "bireme"


# --- the device -----------------------------------------------------------------------------------


def serve(host: str, port: int) -> None:
    """Measures for whoever connects, one after another, until the process is interrupted. A port of
    0 is any that is free; the one that is taken is printed.
    """
    tvm_ffi.register_global_func(_DESCRIBE, _describe, override=True)
    tvm_ffi.register_global_func(_MEASURE, _measure, override=True)
    with socket.create_server((host, port)) as listening:
        port = listening.getsockname()[1]
        print(f"listening on {host}:{port}", flush=True)  # noqa: T201
        server._listen_loop(listening, port, _KEY, None, None, None)


def _describe() -> str:
    return json.dumps({"cpu": processor(), "cores": sorted(os.sched_getaffinity(0))})


def _measure(text: str) -> str:
    """Measures artefacts that were uploaded to the current folder; a fault is an answer, too."""
    question = json.loads(text)
    seconds = question.pop("expected")
    pairs = tuple(((a, x), (b, y)) for (a, x), (b, y) in question.pop("pairs"))
    paths, cores = (tuple(question.pop(name)) for name in ("paths", "cores"))
    request = Measure(paths=paths, cores=cores, pairs=pairs, **question)
    try:
        found = asked(request, seconds)
    except MeasureFault as fault:
        return json.dumps({"fault": fault.detail})
    times = [each.tolist() for each in found.times]
    return json.dumps({**asdict(replace(found, times=())), "times": times})


# --- the tuner ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RemoteRunner:
    """A machine that serves. `cores` are those of the device that runs keep to."""

    session: Any
    cores: tuple[int, ...]
    cpu: str

    @property
    def threads(self) -> int:
        return len(self.cores)

    def measure(self, artefacts: Sequence[bytes], request: Measure, expected: float) -> Measured:
        names = tuple(f"{number}.bireme" for number in range(len(artefacts)))
        full = replace(request, paths=names, cores=self.cores)
        try:
            for name, data in zip(names, artefacts, strict=True):
                self.session.upload(bytearray(data), target=name)
            question = json.dumps({**asdict(full), "expected": expected})
            answer = json.loads(self.session.get_function(_MEASURE)(question))
        except Exception as error:  # whatever TVM's RPC raises
            raise MeasureFault(_last_line(error)) from error
        if "fault" in answer:
            raise MeasureFault(answer["fault"])
        return Measured(
            tuple(np.array(each, np.int64) for each in answer["times"]),
            tuple(tuple(ops) for ops in answer["ops"]),
            tuple(answer["wrong"]),
            answer["isa"],
        )


def remote_runner(device: str, threads: int | None) -> RemoteRunner:
    """The device at `rpc://host:port`, on its first cores; None: on all. Raises BM6002, BM6006."""
    parts = urlsplit(device)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if parts.scheme != "rpc" or not host or not port:
        detail = f"expected rpc://HOST:PORT; found {device!r}"
        raise BiremeError("BM6002", detail, where="device")
    try:
        session = rpc.connect(host, port, key=_KEY, session_timeout=0)
        described = json.loads(session.get_function(_DESCRIBE)())
    except Exception as error:  # sockets, and whatever TVM's RPC raises
        raise MeasureFault(f"{device}: {_last_line(error)}") from error
    cores = described["cores"]
    return RemoteRunner(session, tuple(cores[: threads or len(cores)]), described["cpu"])


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
