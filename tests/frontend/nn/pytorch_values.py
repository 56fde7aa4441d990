"""Writes pytorch_values.npz: what PyTorch makes of the cases. Needs PyTorch, which Bireme does not.

Run: python -m tests.frontend.nn.pytorch_values. The file in the repository is from PyTorch 2.13.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.frontend.nn.pytorch_cases import FUNCTIONS, MODULES, arrays, masks, state

FILE = Path(__file__).parent / "pytorch_values.npz"


def leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Tensors of a nest with the names that traced outputs have."""
    if value is None:
        return
    if not isinstance(value, tuple):
        yield path, value.detach().numpy()
        return
    for index, part in enumerate(value):
        yield from leaves(part, f"{path}.{index}")


def main() -> None:
    """Evaluates every case and writes the file."""
    import torch

    found: dict[str, Any] = {}
    for number, case in enumerate(MODULES):
        module = eval(case.pytorch, vars(torch.nn)).eval()
        shapes = {k: tuple(v.shape) for k, v in module.state_dict().items()}
        module.load_state_dict({k: torch.from_numpy(v) for k, v in state(shapes, number).items()})
        extra = {k: torch.from_numpy(v) for k, v in masks(case, number).items()}
        result = module(*map(torch.from_numpy, arrays(case, number)), **extra)
        found |= {f"module{number}/{k}": v for k, v in leaves(result, "output")}
        found |= {f"module{number}/shape/{k}": np.array(v) for k, v in shapes.items()}
    for number, case in enumerate(FUNCTIONS):
        inputs = dict(zip("xyz", map(torch.from_numpy, arrays(case, number)), strict=False))
        result = eval(case.pytorch, {"F": torch.nn.functional, "torch": torch, **inputs})
        found[f"function{number}"] = result.numpy()
    np.savez_compressed(FILE, **found)


if __name__ == "__main__":
    main()
