"""The exception that every error of the runtime becomes."""

from __future__ import annotations


class RuntimeFault(Exception):
    """An artefact could not be loaded, or a session could not run.

    Attributes:
        code: stable code, ``"BM5007"``; docs/errors.md explains each.
        op: operation of the instruction that failed, or ``""``.
        node: its names in the user's model, or ``""``.
        message: what was wrong this time, with expected and actual values.
        hint: what to do about it.
    """

    def __init__(self, code: str, op: str, node: str, message: str, hint: str) -> None:
        super().__init__(code, op, node, message, hint)
        self.code = code
        self.op = op
        self.node = node
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        where = f" (op {self.op}, node {self.node})" if self.op or self.node else ""
        return f"{self.code}: {self.message}{where}. Hint: {self.hint}"
