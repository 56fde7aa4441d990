from collections.abc import Sequence
from typing import Any, TypedDict

class ModelDescription(TypedDict):
    name: str
    producer: str
    isa: str
    weight_bytes: int
    code_bytes: int
    arena_hint_bytes: int
    arena_lower_bound_bytes: int

class MemoryDescription(TypedDict):
    arena_bytes: int
    workspace_bytes: int
    output_bytes: int
    peak_bytes: int

# Size or -1, symbol or "", least size, largest size or -1.
Dim = tuple[int, str, int, int]

class Model:
    def __init__(self, source: bytes | str, max_isa: str | None, verify_weights: bool) -> None: ...
    def inputs(self) -> list[tuple[str, int, list[Dim]]]: ...
    def outputs(self) -> list[tuple[str, int, list[Dim]]]: ...
    def describe(self) -> ModelDescription: ...

class Session:
    def __init__(self, model: Model, threads: int, profile: bool) -> None: ...
    def run(self, arrays: list[Any], dtypes: Sequence[int]) -> list[Any]: ...
    def memory(self) -> MemoryDescription: ...
    def profile(self) -> list[tuple[str, str, str, str, int, int]]: ...

def error_table() -> list[tuple[str, str, str, str]]: ...
def pool_threads() -> int: ...
