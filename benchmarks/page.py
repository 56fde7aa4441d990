from benchmarks.report import Report


def write_page(report: Report) -> None: ...
