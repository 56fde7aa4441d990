"""`bireme devices`."""

from __future__ import annotations

import platform

from bireme.cli.output import print_json, print_table
from bireme.codegen.machine import this_machine
from bireme.runtime import pool_threads
from bireme.targets.registry import find, names


def run(json: bool) -> None:
    """Lists targets and this machine's processor."""
    levels = {name: [level.name for level in find(name).description.levels] for name in names()}
    machine = {
        "architecture": platform.machine(),
        "cpu": this_machine().cpu,
        "threads": pool_threads(),
    }
    if json:
        targets = [{"target": name, "levels": found} for name, found in levels.items()]
        print_json({"targets": targets, "machine": machine})
        return
    rows = [(name, ", ".join(found)) for name, found in levels.items()]
    print_table("", ("target", "code for"), rows)
    print("this machine: {cpu} ({architecture}), {threads} threads".format(**machine))
