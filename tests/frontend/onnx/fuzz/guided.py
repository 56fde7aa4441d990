"""Coverage-guided fuzzing of the importer with atheris.

    python -m tests.frontend.onnx.fuzz.guided -max_total_time=60

Options are those of libFuzzer. Models that reach new lines are kept in `build/fuzz/onnx/corpus`,
one that breaks a promise is written to `build/fuzz/onnx`. Mutation is that of `mutate.py`:
libFuzzer's own would hardly ever leave a model that can be parsed.

atheris is in `requirements/fuzz.txt`; `make fuzz` installs it.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["bireme.frontend.onnx"]):
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    from tests.frontend.onnx.fuzz.examine import examine, prepare
    from tests.frontend.onnx.fuzz.mutate import change
    from tests.frontend.onnx.fuzz.seeds import seeds

FOUND = Path("build/fuzz/onnx")
_LONGEST = 1 << 16


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """What libFuzzer calls to make a model of another."""
    rng = random.Random(seed)
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        model.CopyFrom(rng.choice(seeds()))
    for _ in range(rng.randint(1, 3)):
        change(model, seeds(), rng)
    made = model.SerializeToString()
    return made if len(made) <= most else data


def main() -> None:
    corpus = FOUND / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds():
        data = seed.SerializeToString()
        (corpus / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)
    folder = Path(tempfile.mkdtemp())
    prepare(folder)
    arguments = [
        sys.argv[0], f"-artifact_prefix={FOUND}{os.sep}", f"-max_len={_LONGEST}", "-rss_limit_mb=0",
        *sys.argv[1:], str(corpus),
    ]  # fmt: skip
    atheris.Setup(arguments, lambda data: examine(data, folder) and None, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
