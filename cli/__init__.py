"""The command line: `bireme compile | tune | run | check | compare | inspect | bench | devices`.

Each command is a file of its own; it is imported only when it is called, so `--help` is quick.
"""

from bireme.cli.app import main

__all__ = ["main"]
