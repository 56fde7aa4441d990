"""`bireme.tune`: records that make a model faster on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bireme.codegen.compiler import Options
from bireme.codegen.tune.profile import Wish
from bireme.codegen.tune.runner import Runner, local_runner
from bireme.codegen.tune.tuner import Outcome, Watch
from bireme.codegen.tune.tuner import tune as run
from bireme.ir import Array, Graph
from bireme.targets.registry import find

if TYPE_CHECKING:
    from bireme.frontend.onnx import Source

__all__ = ["tune"]


def tune(
    model: Source | Graph,
    database: str | os.PathLike[str],
    target: str = "x86",
    *,
    minutes: float = 10.0,
    dims: Mapping[str, int | range] | None = None,
    constants: Mapping[str, Array] | None = None,
    device: str | None = None,
    level: str | None = None,
    threads: int | None = None,
    seed: int = 0,
    options: Options | None = None,
    watch: Watch = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Tries parameters of the model's kernels for some minutes, and adds those that make the model
    faster to the file of records `database`.

    `model`, `target`, `dims` and `constants` are those of `compile`; sizes that `dims` leaves open
    are measured at their typical value. `device` is what measures: None this machine, or
    `rpc://HOST:PORT` one that serves. `level` is the instruction set to tune for, by default the
    best of the device; `threads` is how many a run uses, by default all. `options` is how the
    model will be compiled. `watch` is told before
    every batch of candidates where the run is; once `stopped` says so, it keeps what it has and
    ends. A run that was killed goes on where it was. Raises BiremeError.
    """
    if isinstance(model, Graph):
        graph = model
    else:
        from bireme.frontend import onnx

        graph = onnx.load(model, dims=dims or {}, constants=constants or {})
    wish = Wish(60 * minutes, level, seed=seed, options=options or Options())
    runner: Runner
    if device is None:
        runner = local_runner(threads)
    else:
        from bireme.codegen.tune.remote import remote_runner

        runner = remote_runner(device, threads)
    return run(graph, find(target), wish, Path(database), runner, watch=watch, stopped=stopped)
