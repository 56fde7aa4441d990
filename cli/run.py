"""`bireme run`."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

from bireme._inputs import npz, random_inputs, read_inputs
from bireme.cli.options import parse_dims
from bireme.cli.output import print_json, print_table
from bireme.codegen.files import write_file
from bireme.ir import Array
from bireme.runtime import Model, Session


def run(
    artefact: Path,
    source: Path | None,
    target: Path | None,
    dims: list[str] | None,
    threads: int | None,
    seed: int | None,
    profile: bool,
    json: bool,
) -> None:
    """Runs the artefact once and prints, or writes to `target`, what came out."""
    model = Model.load(artefact)
    feed = read_inputs(source, model) if source else random_inputs(model, parse_dims(dims))
    session = Session(model, threads=threads, profile=profile, seed=seed)
    start = perf_counter()
    outputs = session.run(feed)
    milliseconds = (perf_counter() - start) * 1e3
    if target:
        write_file(target, npz(outputs))
    if json:
        shapes = {
            name: {"dtype": str(value.dtype), "shape": list(value.shape)}
            for name, value in outputs.items()
        }
        entries = [vars(entry) for entry in session.profile()]
        print_json({"milliseconds": milliseconds, "outputs": shapes, "profile": entries})
        return
    rows = [
        (name, value.dtype, list(value.shape), _summary(value)) for name, value in outputs.items()
    ]
    print_table("", ("output", "type", "shape", "values"), rows)
    print(f"{milliseconds:.2f} ms, peak memory {session.peak_bytes / 1e6:.2f} MB without weights")
    if profile:
        steps = sorted(session.profile(), key=lambda entry: -entry.nanoseconds)
        total = sum(entry.nanoseconds for entry in steps) or 1
        print_table(
            "",
            ("ms", "share", "kind", "op", "node"),
            [
                (
                    f"{s.nanoseconds / 1e6:.3f}",
                    f"{100 * s.nanoseconds / total:.1f}%",
                    s.kind,
                    s.op,
                    s.node,
                )
                for s in steps
            ],
        )


def _summary(value: Array) -> str:
    flat = value.reshape(-1)
    first = ", ".join(f"{x:.5g}" if x.dtype.kind == "f" else str(x) for x in flat[:6])
    return first + (", …" if flat.size > 6 else "")
