"""Messages between a process and its compile workers: pickles, each with its length in front."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import IO

from bireme.codegen.parameters import Choice
from bireme.codegen.spec import KernelSpec


@dataclass(frozen=True)
class Request:
    """Compile `spec` for a level of a target, with what tuning records say. Both go by name."""

    target: str
    level: str
    spec: KernelSpec
    choice: Choice


@dataclass(frozen=True)
class Refusal:
    """Why a kernel was not compiled: the fields of a BiremeError."""

    code: str
    detail: str
    where: str = ""
    hint: str = ""


def send(stream: IO[bytes], message: object) -> None:
    """Writes one message."""
    data = pickle.dumps(message)
    stream.write(len(data).to_bytes(8, "little") + data)
    stream.flush()


def receive(stream: IO[bytes]) -> object:
    """Reads one message; None at the end of the stream."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    message: object = pickle.loads(stream.read(int.from_bytes(head, "little")))
    return message
