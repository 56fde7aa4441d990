"""`bireme devices`."""

from __future__ import annotations

import platform
from pathlib import Path

from bireme.cli.output import print_json, print_table
from bireme.runtime import pool_threads
from bireme.targets.registry import find, names


def run(json: bool) -> None:
    """Lists targets and this machine's processor."""
    rows = []
    for name in names():
        description = find(name).description
        levels = [level.name for level in description.levels]
        rows.append({"target": name, "levels": levels, "channel_block": description.channel_block})
    machine = {"architecture": platform.machine(), "cpu": _cpu(), "threads": pool_threads()}
    if json:
        print_json({"targets": rows, "machine": machine})
        return
    print_table("", ("target", "code for"), [(r["target"], ", ".join(r["levels"])) for r in rows])
    print(f"this machine: {machine['cpu']} ({machine['architecture']}), {machine['threads']} threads")


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
