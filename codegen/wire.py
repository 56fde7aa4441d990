"""Messages between a process and its compile workers: pickles, each with its length in front."""

from __future__ import annotations

import pickle
from typing import BinaryIO


def send(stream: BinaryIO, message: object) -> None:
    """Writes one message."""
    data = pickle.dumps(message)
    stream.write(len(data).to_bytes(8, "little") + data)
    stream.flush()


def receive(stream: BinaryIO) -> object:
    """Reads one message; None at the end of the stream."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    message: object = pickle.loads(stream.read(int.from_bytes(head, "little")))
    return message
