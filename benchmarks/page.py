"""docs/benchmarks.md and its chart, written from the results of a run."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import log2
from pathlib import Path

from benchmarks.environments import ROOT
from benchmarks.report import (
    OURS,
    PRECISIONS,
    Report,
    geometric_mean,
    reasons,
    rows,
    shown,
    summary,
    title,
)

DOCS = ROOT / "docs"
PAGE, CHART, RESULTS = "benchmarks.md", "benchmarks.svg", "benchmarks.json"
DAGGER = "\\*"

INTRODUCTION = """\
# Benchmarks

`make bench-all` writes this page, its chart and [{results}]({results}); `make bench` measures
beside the engines that are quickly installed, and prints the same tables.

Every engine gets the same ONNX file and the same input, works in a process and an environment of
its own (`benchmarks/requirements/`), and has its outputs compared with ONNX Runtime's before it is
timed: within 1e-3 of the largest element in float32; in bfloat16 the distance stands in brackets. A
round times each engine for a moment, one after another; a figure is
{figure}. Networks of the zoo have random weights in
published shapes; the others come trained, from Python packages. Bireme is untuned.

*Ratio* is the fastest other float32 engine's time over Bireme's: above 1, Bireme is faster. The
*limit* is the time that the multiply-adds of direct convolutions, products and recurrent layers
take at the measured peak; faster algorithms, such as Winograd's, may pass it. With two threads the
time of a cache line from core to core is taken around every burst, and bursts count if cores were
near each other; a star marks figures where too few were.

| measured on | |
| --- | --- |
| date | {date} |
| processor | {cpu}, {cores} cores |
| float32 peak of a core | {peak:.1f} GFLOP/s |
"""


def markdown(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table; all columns but the first are numbers."""
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, rule, *lines))


def tables(report: Report) -> list[str]:
    """A section for each precision and number of threads."""
    sections: list[str] = []
    for precision in PRECISIONS:
        if not report.engines(precision):
            continue
        for threads in report.threads:
            heads, lines = rows(report, threads, precision)
            starred = [[c.replace("*", DAGGER) for c in line] for line in lines]
            name = f"## {precision}, {threads} thread{'s' if threads > 1 else ''}, milliseconds"
            sections.append(f"{name}\n\n{markdown(heads, starred)}")
            if precision == "float32":
                sections.append(f"{summary(report, threads)}.")
    return sections


def start_table(report: Report) -> str:
    """Time to the first result, and memory, with one thread."""
    threads = report.threads[0]
    engines = [e for p in PRECISIONS for e in report.engines(p)]
    lines: list[list[str]] = []
    for model in report.models:
        line = [model]
        for engine in engines:
            found = report.find(model, engine, threads)
            ran = found is not None and found.milliseconds is not None
            first, memory = (found.first_result, found.megabytes) if found and ran else (None, None)
            line.append(f"{shown(first)} / {shown(memory)}")
        lines.append(line)
    table = markdown(["model", *(title(e) for e in engines)], lines)
    return (
        "## Start\n\nMilliseconds from loading to the first result / megabytes that the process "
        "grew by then, in a fresh process that has imported the engine's library; files are in the "
        f"page cache. Conversion is not counted; what engines compile when they load is.\n\n{table}"
    )


def chart(report: Report) -> str:
    """An SVG picture: how many times Bireme's time each float32 engine takes, by model.

    One row of dots for each model with one thread, on a logarithmic axis; left of the line at 1 are
    engines that are faster.
    """
    threads = report.threads[0]
    engines = [e for e in report.engines("float32") if e != OURS]
    models = [m for m in report.models if report.milliseconds(m, OURS, threads)]
    left, top, step, width, most = 150, 46, 24, 520, 8.0
    height = top + step * (len(models) + 1) + 20 * ((len(engines) + 3) // 4) + 20
    colours = ("#1b6ca8", "#d1495b", "#3a7d44", "#edae49", "#6a4c93", "#00798c", "#8d5524", "#555",
               "#c77dff", "#2a9d8f")  # fmt: skip

    def across(ratio: float) -> float:
        position = min(max(ratio, 0.5), most)
        return left + width * (log2(position) + 1) / (log2(most) + 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 30} {height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{left}" y="16">time over Bireme\'s, float32, {threads} thread '
        "(right of the line: Bireme is faster)</text>",
    ]
    bottom = top + step * len(models)
    for tick in (0.5, 1, 2, 4, 8):
        x = across(tick)
        colour, label = ("#000", "1") if tick == 1 else ("#ddd", f"{tick:g}")
        label = f"≥ {label}" if tick == most else label
        parts.append(
            f'<line x1="{x:.0f}" x2="{x:.0f}" y1="{top - 12}" y2="{bottom}" stroke="{colour}"/>'
        )
        parts.append(f'<text x="{x:.0f}" y="{top - 16}" text-anchor="middle">{label}</text>')
    for row, model in enumerate(models):
        y = top + step * row + step // 2
        ours = report.milliseconds(model, OURS, threads) or 1.0
        parts.append(f'<text x="{left - 10}" y="{y + 4}" text-anchor="end">{escape(model)}</text>')
        for index, engine in enumerate(engines):
            time = report.milliseconds(model, engine, threads)
            if time is not None:
                name = f"{title(engine)}: {time / ours:.2f}"
                parts.append(
                    f'<circle cx="{across(time / ours):.1f}" cy="{y}" r="4.5" fill-opacity="0.8" '
                    f'fill="{colours[index % len(colours)]}"><title>{escape(name)}</title></circle>'
                )
    for index, engine in enumerate(engines):
        x, y = 20 + 170 * (index % 4), bottom + 24 + 20 * (index // 4)
        parts.append(f'<circle cx="{x}" cy="{y}" r="4.5" fill="{colours[index % len(colours)]}"/>')
        parts.append(f'<text x="{x + 10}" y="{y + 4}">{escape(title(engine))}</text>')
    return "\n".join([*parts, "</svg>", ""])


def text(report: Report) -> str:
    """The page."""
    figure = (
        "the least processor time of all rounds"
        if report.cpu_time
        else "the median over rounds of the medians of bursts"
    )
    head = INTRODUCTION.format(
        results=RESULTS,
        figure=figure,
        date=report.date,
        cpu=report.cpu,
        cores=report.cores,
        peak=report.peak,
    )
    versions = [f"| {title(e)} | {v} |" for e, v in report.versions.items() if e != OURS]
    versions += [f"| note | {report.note} |"] if report.note else []
    ratios = [r for m in report.models for t in report.threads if (r := report.ratio(m, t))]
    picture = f"![time over Bireme's by model and engine]({CHART})"
    mean = f"Geometric mean of all float32 ratios: {geometric_mean(ratios):.2f}." if ratios else ""
    why = [f"* {', '.join(w)}: {_plain(reason)}" for reason, w in reasons(report.results).items()]
    dashes = ["## Dashes\n\n" + "\n".join(why)] if why else []
    parts = [head + "\n".join(versions), mean, picture, *tables(report), start_table(report)]
    return "\n\n".join(part for part in [*parts, *dashes] if part) + "\n"


def _plain(reason: str) -> str:
    """The first line of a reason, without what Markdown would read as mark-up."""
    first = reason.splitlines()[0][:200]
    return f"`{first.replace('`', chr(39))}`"


def write_page(report: Report, folder: Path = DOCS) -> None:
    """Writes page, chart and results."""
    report.save(folder / RESULTS)
    (folder / CHART).write_text(chart(report))
    (folder / PAGE).write_text(text(report))
