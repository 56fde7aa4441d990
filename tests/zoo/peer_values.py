"""Writes peer_values.npz: what independent implementations make of the zoo's weights and inputs.

Needs torch, torchvision, timm and transformers beside Bireme, which does not need them. The file in
the repository is from torch 2.13.0, torchvision 0.28.0, timm 1.0.31, transformers 5.23.0.
Run: python -m tests.zoo.peer_values, with the names of models to leave the others as they are.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bireme import zoo

FILE = Path(__file__).parent / "peer_values.npz"


@dataclass(frozen=True)
class Case:
    """A model, its sizes, and options that keep it small."""

    name: str
    sizes: dict[str, int]
    options: dict[str, Any] = field(default_factory=dict)


CASES = (
    Case("mobilenet_v1", {"batch": 2}, {"image_size": 64}),
    Case("mobilenet_v1_050", {"batch": 1}, {"image_size": 64}),
    Case("mobilenet_v2", {"batch": 2}, {"image_size": 64}),
    Case("mobilenet_v3_small", {"batch": 2}, {"image_size": 64}),
    Case("efficientnet_b0", {"batch": 1}, {"image_size": 64}),
    Case("vit_tiny", {"batch": 2}, {"image_size": 64}),
    Case("resnet18", {"batch": 2}, {"image_size": 64}),
    Case("resnet50", {"batch": 1}, {"image_size": 64}),
    Case("bert_tiny", {"batch": 2, "seq": 17}),
    Case("lstm_classifier", {"batch": 3, "seq": 11}),
)


def inputs(case: Case) -> dict[str, np.ndarray[Any, Any]]:
    """The case's inputs; the last tokens of the first text are padding."""
    arrays = zoo.example(case.name, case.sizes, **case.options)
    if "attention_mask" in arrays:
        arrays["attention_mask"][:] = 1
        arrays["attention_mask"][0, -5:] = 0
    return arrays


def peer(case: Case) -> Any:
    """The same network by somebody else, without weights."""
    import timm
    import torch
    import torchvision

    class LstmClassifier(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(20000, 128, 0)
            self.lstm = torch.nn.LSTM(128, 128, batch_first=True, bidirectional=True)
            self.fc = torch.nn.Linear(256, 4)

        def forward(self, tokens: Any) -> Any:
            _, (h, _) = self.lstm(self.embedding(tokens))
            return self.fc(torch.cat([h[0], h[1]], -1))

    def bert() -> Any:
        import transformers

        tiny = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
        return transformers.BertModel(transformers.BertConfig(**tiny, intermediate_size=512))

    makers: dict[str, Any] = {
        "mobilenet_v1": lambda: timm.create_model("mobilenetv1_100"),
        "mobilenet_v1_050": lambda: timm.models.efficientnet._gen_mobilenet_v1(
            "mobilenetv1_050", 0.5
        ),
        "mobilenet_v2": lambda: timm.create_model("mobilenetv2_100"),
        "mobilenet_v3_small": lambda: timm.create_model("mobilenetv3_small_100"),
        "efficientnet_b0": lambda: timm.create_model("efficientnet_b0"),
        "vit_tiny": lambda: timm.create_model("vit_tiny_patch16_224", img_size=64),
        "resnet18": lambda: timm.create_model("resnet18"),
        "resnet50": torchvision.models.resnet50,
        "bert_tiny": bert,
        "lstm_classifier": LstmClassifier,
    }
    return makers[case.name]().eval()


def main() -> None:
    """Runs every case, or those named, and writes the file."""
    import torch

    wanted = sys.argv[1:]
    found: dict[str, Any] = dict(np.load(FILE)) if wanted else {}
    for case in CASES:
        if wanted and case.name not in wanted:
            continue
        network = peer(case)
        state = zoo.create(case.name, **case.options).state_dict()
        network.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in state.items()})
        arrays = {k: torch.from_numpy(v) for k, v in inputs(case).items()}
        with torch.no_grad():
            result = network(**arrays) if len(arrays) > 1 else network(*arrays.values())
        named = dict(result) if hasattr(result, "keys") else {"output": result}
        found |= {f"{case.name}/{k}": v.numpy() for k, v in named.items()}
    np.savez_compressed(FILE, **found)


if __name__ == "__main__":
    main()
