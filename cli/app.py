"""Commands and options of the command line.

Exit codes: 0 done; 1 the model, its inputs or the artefact are at fault (or `check` found nodes
that cannot be compiled); 2 the command line itself is wrong. `compare` keeps 1 for an artefact that
differs: there 2 is for everything that keeps it from comparing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bireme.cli.output import ERROR, reporting_errors

app = typer.Typer(
    name="bireme",
    help="Compile a deep-learning model to one file, look at it, run it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Threads = Annotated[int | None, typer.Option(help="Most threads a run uses. Default: all.", min=1)]
Model = Annotated[Path, typer.Argument(help="ONNX model.")]
Artefact = Annotated[Path, typer.Argument(help="Compiled model (.bireme).")]
Target = Annotated[str, typer.Option("--target", "-t", help="`bireme devices` lists them.")]
Inputs = Annotated[
    Path | None, typer.Option("--input", "--inputs", "-i", help="Inputs by name (.npz).")
]
Html = Annotated[Path | None, typer.Option(help="Write the report as a page, too.")]
Jobs = Annotated[
    int | None, typer.Option(help="Compile processes; 0: none. Default: one a core.", min=0)
]
Winograd = Annotated[
    bool,
    typer.Option(help="Winograd's form for 3x3 convolutions where it is faster; else direct."),
]
Precision = Annotated[
    str,
    typer.Option(
        help="What contractions multiply in where that is safe: float32, bf16, fp16, or auto. "
        "Sums stay float32."
    ),
]
Calibration = Annotated[
    list[Path] | None,
    typer.Option(help="Real inputs by name (.npz) to test the precision on; may be repeated."),
]
Limit = Annotated[
    float,
    typer.Option(
        "--precision-limit",
        help="What `auto` keeps the error on calibration inputs below, relative to the largest "
        "element of an output.",
        min=0.0,
    ),
]
Dim = Annotated[
    list[str] | None,
    typer.Option("--dim", help="Size of a symbolic dimension: batch=1, or its range: batch=1..64."),
]
Constant = Annotated[
    list[str] | None,
    typer.Option("--constant", help="Freeze an input to data: NAME=FILE.npy."),
]
Specialize = Annotated[
    list[str] | None,
    typer.Option(
        help="Add kernels made for these sizes, chosen at run time: seq=16,64,128. Several "
        "symbols are combined (batch=1,seq=16,64); several options are not."
    ),
]


@app.command()
def compile(
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the artefact.")],
    target: Target = "x86",
    dim: Dim = None,
    constant: Constant = None,
    specialize: Specialize = None,
    records: Annotated[
        list[Path] | None, typer.Option(help="Tuning records to use, made by `bireme tune`.")
    ] = None,
    untuned: Annotated[
        bool, typer.Option("--untuned", help="Do not use the tuning records that come with Bireme.")
    ] = False,
    winograd: Winograd = True,
    precision: Precision = "float32",
    calibration: Calibration = None,
    limit: Limit = 1e-2,
    report: Annotated[
        Path | None, typer.Option(help="Write what was done, as JSON, to this file.")
    ] = None,
    jobs: Jobs = None,
    cache: Annotated[bool, typer.Option(help="Use the kernel cache.")] = True,
    cache_dir: Annotated[Path | None, typer.Option(help="Folder of the kernel cache.")] = None,
    dump_ir: Annotated[
        Path | None, typer.Option(help="Write the IR around every pass here.")
    ] = None,
    verify: Annotated[bool, typer.Option(help="Verify the IR after every pass.")] = False,
    json: Json = False,
) -> None:
    """Compile an ONNX model to an artefact."""
    from bireme.cli.compile import run

    with reporting_errors(json):
        run(
            model, output, target, dim, constant, specialize, records, untuned, winograd, precision,
            calibration, limit, report, jobs, cache, cache_dir, dump_ir, verify, json,
        )  # fmt: skip


@app.command()
def tune(
    model: Annotated[
        Path | None, typer.Argument(help="ONNX model; none to merge, import or serve only.")
    ] = None,
    database: Annotated[
        Path, typer.Option("--database", "-d", help="File of records; new ones are added to it.")
    ] = Path("records.jsonl"),
    target: Target = "x86",
    minutes: Annotated[float, typer.Option(help="How long to search.", min=0.01)] = 10.0,
    dim: Dim = None,
    constant: Constant = None,
    device: Annotated[
        str | None, typer.Option(help="Measure on another machine that serves: rpc://HOST:PORT.")
    ] = None,
    serve: Annotated[
        str | None, typer.Option(help="Be such a machine: HOST:PORT to listen on.")
    ] = None,
    level: Annotated[
        str | None, typer.Option(help="Instruction set to tune for. Default: the device's best.")
    ] = None,
    threads: Threads = None,
    winograd: Winograd = True,
    precision: Precision = "float32",
    calibration: Calibration = None,
    limit: Limit = 1e-2,
    seed: Annotated[int, typer.Option(help="Of the candidates and the data.", min=0)] = 0,
    merge: Annotated[
        list[Path] | None, typer.Option(help="First add the records of this file to the database.")
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(help="Measure nothing; write candidates for a device without Python here."),
    ] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option("--import", help="First add what such a device found to the database."),
    ] = None,
    jobs: Jobs = None,
    cache: Annotated[bool, typer.Option(help="Use the kernel cache.")] = True,
    cache_dir: Annotated[Path | None, typer.Option(help="Folder of the kernel cache.")] = None,
    json: Json = False,
) -> None:
    """Look for better parameters of a model's kernels on this machine; `compile` uses them.

    Ctrl-C ends the search and keeps what was found; a run that was killed goes on where it was.
    """
    from bireme.cli.tune import merge as merge_databases
    from bireme.cli.tune import run, serve_at, take_in

    if model is None and (export or not (merge or serve or results)):
        raise typer.BadParameter("give a model, --merge, --import or --serve", param_hint="MODEL")
    with reporting_errors(json):
        if serve:
            serve_at(serve)
            return
        if merge:
            merge_databases(database, merge, json and model is None and not results)
        if results:
            take_in(database, results, json and model is None)
        if model is not None:
            run(
                model, database, target, minutes, dim, constant, device, level, threads, export,
                winograd, precision, calibration, limit, seed, jobs, cache, cache_dir, json,
            )  # fmt: skip


@app.command()
def run(
    artefact: Artefact,
    source: Inputs = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Outputs by name (.npz).")
    ] = None,
    dim: Dim = None,
    threads: Threads = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=(1 << 64) - 1, help="Of random numbers that the model draws."),
    ] = None,
    profile: Annotated[bool, typer.Option(help="Print the time of every op.")] = False,
    json: Json = False,
) -> None:
    """Run an artefact once; without --input on random data."""
    from bireme.cli.run import run as run_artefact

    with reporting_errors(json):
        run_artefact(artefact, source, output, dim, threads, seed, profile, json)


@app.command()
def check(
    model: Model,
    target: Annotated[
        str, typer.Option("--target", "-t", help="One of `bireme devices`, or all.")
    ] = "all",
    dim: Dim = None,
    constant: Constant = None,
    specialize: Specialize = None,
    html: Html = None,
    json: Json = False,
) -> None:
    """Say of every node where it would run, or why it cannot be compiled, before compiling."""
    from bireme.cli.check import run

    with reporting_errors(json):
        raise typer.Exit(run(model, target, dim, constant, specialize, html, json))


@app.command()
def compare(
    model: Model,
    artefact: Artefact,
    source: Inputs = None,
    against: Annotated[
        str, typer.Option(help="The yardstick: reference, or onnxruntime where installed.")
    ] = "reference",
    dim: Dim = None,
    constant: Constant = None,
    seed: Annotated[int, typer.Option(help="Of the data made up without --input.", min=0)] = 0,
    value_range: Annotated[
        str | None, typer.Option("--range", help="Values of the data made up: LEAST..MOST.")
    ] = None,
    repro: Annotated[
        Path, typer.Option(help="Where to write a model of the node that differs.")
    ] = Path("repro"),
    threads: Threads = None,
    precision: Precision = "float32",
    calibration: Calibration = None,
    limit: Limit = 1e-2,
    html: Html = None,
    json: Json = False,
) -> None:
    """Compare an artefact with its ONNX model, to the first node that differs."""
    from bireme.cli.compare import run

    with reporting_errors(json, ERROR):
        raise typer.Exit(
            run(
                model,
                artefact,
                source,
                against,
                dim,
                constant,
                seed,
                value_range,
                repro,
                threads,
                precision,
                calibration,
                limit,
                html,
                json,
            )
        )


@app.command()
def inspect(artefact: Artefact, json: Json = False) -> None:
    """Show what is in an artefact: inputs, outputs, memory, kernels."""
    from bireme.cli.inspect import run

    with reporting_errors(json):
        run(artefact, json)


@app.command()
def bench(
    artefact: Artefact,
    source: Inputs = None,
    dim: Dim = None,
    threads: Threads = None,
    seconds: Annotated[float, typer.Option(help="How long to measure.", min=0.01)] = 3.0,
    json: Json = False,
) -> None:
    """Measure an artefact's latency."""
    from bireme.cli.bench import run

    with reporting_errors(json):
        run(artefact, source, dim, threads, seconds, json)


@app.command()
def profile(
    artefact: Artefact,
    source: Inputs = None,
    dim: Dim = None,
    threads: Threads = None,
    seconds: Annotated[float, typer.Option(help="How long to measure.", min=0.0)] = 3.0,
    runs: Annotated[int | None, typer.Option(help="Measure so many runs instead.", min=1)] = None,
    busy: Annotated[
        bool,
        typer.Option(help="The machine does other work, too: take the least time of each step."),
    ] = False,
    top: Annotated[int, typer.Option(help="Show so many of the slowest; 0: all.", min=0)] = 30,
    by: Annotated[str, typer.Option(help="Rows of the table: step, class or kernel.")] = "step",
    measure_limits: Annotated[
        bool, typer.Option(help="Measure the limits of this machine again.")
    ] = False,
    html: Html = None,
    trace: Annotated[
        Path | None, typer.Option(help="Write the timeline for Perfetto or chrome://tracing.")
    ] = None,
    json: Json = False,
) -> None:
    """Say where the time of an artefact goes, against what this machine can do."""
    from bireme.cli.profile import run

    with reporting_errors(json):
        run(
            artefact, source, dim, threads, seconds, runs, busy, top, by, measure_limits, html,
            trace, json,
        )  # fmt: skip


@app.command()
def devices(json: Json = False) -> None:
    """List targets, and what this machine is."""
    from bireme.cli.devices import run

    with reporting_errors(json):
        run(json)


def main() -> None:
    """Entry point of the `bireme` program."""
    app()
