"""The timeline of a profile in the format that Perfetto and chrome://tracing read (Trace Event
Format, JSON object form; times in microseconds).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from bireme._profile import Profile, Step
from bireme.codegen.arena import live_bytes

_PROCESS = 1


def trace_of(found: Profile) -> str:
    """The fastest run that was measured: what each thread did when, and what the arena held."""
    return json.dumps({"traceEvents": list(_events(found)), "displayTimeUnit": "ns"})


def _events(found: Profile) -> Iterator[dict[str, Any]]:
    start = min((e.begin for e in found.events), default=0)
    live = live_bytes(found.plan)
    yield _metadata("process_name", 0, found.model or "model")
    for worker in sorted({e.worker for e in found.events}):
        yield _metadata("thread_name", worker, f"thread {worker}")
    for event in found.events:
        step = found.steps[event.instruction]
        begin = (event.begin - start) / 1e3
        yield {
            "ph": "X",
            "pid": _PROCESS,
            "tid": event.worker,
            "ts": begin,
            "dur": (event.end - event.begin) / 1e3,
            "name": title(step),
            "cat": step.kind or "unknown",
            "args": _arguments(step),
        }
        if event.worker == 0:
            yield {
                "ph": "C",
                "pid": _PROCESS,
                "ts": begin,
                "name": "arena in use",
                "args": {"bytes": live[event.instruction]},
            }


def title(step: Step) -> str:
    """A step in a few words."""
    what = step.form or "+".join(step.ops)
    return f"{what} ({step.nodes[0]})" if step.nodes else what


def _metadata(what: str, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "pid": _PROCESS, "tid": thread, "name": what, "args": {"name": name}}


def _arguments(step: Step) -> dict[str, Any]:
    return {
        "step": step.index,
        "nodes": ", ".join(step.nodes),
        "ops": "+".join(step.ops),
        "kernel": step.kernel,
        "types": step.types,
        "GFLOP/s": step.gflops,
        "GB/s": step.gbs,
        "limit": step.limit,
        "of limit": step.of_limit,
    }
