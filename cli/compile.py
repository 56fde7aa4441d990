"""`bireme compile`."""

from __future__ import annotations

from dataclasses import replace
from json import dumps
from pathlib import Path

from bireme.cli.options import parse_choices, parse_constants, parse_dims, read_calibration
from bireme.cli.output import megabytes, print_json, progress_bar
from bireme.cli.precision import precision_fields, precision_lines
from bireme.codegen.cache import KernelCache, default_folder
from bireme.codegen.compiler import Options, Report, compile_graph
from bireme.codegen.files import write_file
from bireme.codegen.records import records_for
from bireme.frontend import onnx
from bireme.ir.errors import counted
from bireme.passes.manager import dump_to
from bireme.passes.precision import precision_for
from bireme.targets.registry import find


def run(
    model: Path,
    output: Path,
    target: str,
    dims: list[str] | None,
    constants: list[str] | None,
    specialize: list[str] | None,
    records: list[Path] | None,
    untuned: bool,
    winograd: bool,
    precision: str,
    calibration: list[Path] | None,
    limit: float,
    report_path: Path | None,
    jobs: int | None,
    cache: bool,
    cache_dir: Path | None,
    dump_ir: Path | None,
    verify: bool,
    json: bool,
) -> None:
    """Compiles `model` and writes the artefact to `output`, whole or not at all."""
    chip = find(target)
    options = Options(
        cache=KernelCache((cache_dir or default_folder()) if cache else None),
        jobs=jobs,
        verify=verify,
        dump=dump_to(dump_ir) if dump_ir else None,
        specialize=parse_choices(specialize),
        records=records_for(chip, records or (), untuned),
        winograd=winograd,
    )
    with progress_bar(quiet=json) as tell:
        tell("reading the model", 0, 1)
        graph = onnx.load(model, dims=parse_dims(dims), constants=parse_constants(constants))
        chosen = precision_for(precision, read_calibration(calibration, graph), limit)
        options = replace(options, precision=chosen)
        data, report = compile_graph(graph, chip, options, tell)
    write_file(output, data)
    figures = {"output": str(output), "bytes": len(data), **_figures(report)}
    if report_path is not None:
        write_file(report_path, dumps(figures, indent=2).encode())
    if json:
        print_json(figures)
        return
    for record in report.passes:
        print(record)
    code = megabytes(report.code_bytes)
    tuned = f", tuned by {counted(report.records, 'record')}" if report.records else ""
    print(f"{report.kernels} kernels in {report.launches} steps, {code} of code{tuned}")
    if specialize:
        special = megabytes(report.version_bytes)
        print(f"{report.versions} versions of steps for {'; '.join(specialize)}: {special} of code")
    if report.precision is not None:
        print("\n".join(precision_lines(report.precision)))
    arena, bound = megabytes(report.arena_bytes), megabytes(report.arena_lower_bound)
    print(f"arena {arena}, lower bound {bound}; weights {megabytes(report.weight_bytes)}")
    print(f"{output}: {megabytes(len(data))} in {report.seconds:.1f} s")


def _figures(report: Report) -> dict[str, object]:
    return {
        "kernels": report.kernels,
        "steps": report.launches,
        "arena_bytes": report.arena_bytes,
        "arena_lower_bound_bytes": report.arena_lower_bound,
        "weight_bytes": report.weight_bytes,
        "code_bytes": report.code_bytes,
        "versions": report.versions,
        "version_bytes": report.version_bytes,
        "records": report.records,
        "precision": precision_fields(report.precision) if report.precision else None,
        "seconds": report.seconds,
        "passes": [{"name": r.name, "seconds": r.seconds, "gain": r.gain} for r in report.passes],
    }
