"""`bireme check`."""

from __future__ import annotations

from pathlib import Path

from bireme.cli.options import parse_constants, parse_dims
from bireme.cli.output import FAULT, print_json, print_table
from bireme.frontend import onnx


def run(model: Path, dims: list[str] | None, constants: list[str] | None, json: bool) -> int:
    """Prints what cannot be compiled; gives the exit code."""
    reports = onnx.check(model, dims=parse_dims(dims), constants=parse_constants(constants))
    refused = [r for r in reports if not r.supported]
    if json:
        print_json({"nodes": [vars(r) for r in reports], "compilable": not refused})
        return FAULT if refused else 0
    if refused:
        rows = [(r.name, r.op, r.opset, r.code, r.reason, r.hint) for r in refused]
        print_table("", ("node", "op", "opset", "code", "reason", "what to do"), rows)
    print(f"{len(reports) - len(refused)} of {len(reports)} nodes can be compiled")
    return FAULT if refused else 0
