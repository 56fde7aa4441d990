"""Rewrites and plans over the graph bank."""

from bireme.passes.manager import Dump, Outcome, Pass, PassRecord, Property, dump_to, run_passes
from bireme.passes.pipeline import DEFAULT, PASSES, make_pass, optimise

__all__ = [
    "DEFAULT",
    "PASSES",
    "Dump",
    "Outcome",
    "Pass",
    "PassRecord",
    "Property",
    "dump_to",
    "make_pass",
    "optimise",
    "run_passes",
]
