"""A text classifier: embeddings, a (bidirectional) LSTM, a linear layer on its last states.

The usual recurrent baseline (Zhang et al., "Character-level Convolutional Networks for Text
Classification", 2015, section 3.2, has it with word embeddings). Names are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bireme.frontend import nn


@dataclass(frozen=True)
class TextClassifierConfig:
    """Sizes; token `padding_idx` has a zero embedding."""

    vocab_size: int = 20000
    embedding_dim: int = 128
    hidden_size: int = 128
    num_layers: int = 1
    bidirectional: bool = True
    num_classes: int = 4
    padding_idx: int = 0


def inputs(_: TextClassifierConfig) -> Mapping[str, nn.Spec]:
    """Token ids, one row for each text."""
    return {"tokens": nn.Spec(("batch", "seq"), "int64")}


def limits(config: TextClassifierConfig) -> Mapping[str, int]:
    """Numbers that the values of each input are below."""
    return {"tokens": config.vocab_size}


def ranges(_: TextClassifierConfig) -> Mapping[str, nn.SymbolRange]:
    """Texts may have any length; kernels are chosen for 64 tokens."""
    return {"seq": nn.SymbolRange(1, None, 64)}


class TextClassifier(nn.Module):
    """Tokens [B, S] → scores [B, num_classes]."""

    def __init__(self, config: TextClassifierConfig) -> None:
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_dim, config.padding_idx)
        self.lstm = nn.LSTM(
            config.embedding_dim,
            config.hidden_size,
            config.num_layers,
            batch_first=True,
            bidirectional=config.bidirectional,
        )
        self.directions = 2 if config.bidirectional else 1
        self.fc = nn.Linear(config.hidden_size * self.directions, config.num_classes)

    def forward(self, tokens: nn.Tensor, lengths: nn.Tensor | None = None) -> nn.Tensor:
        """`lengths` int32[B] says how many tokens of each row are text; all, unless given."""
        _, (h, _) = self.lstm(self.embedding(tokens), lengths=lengths)
        last = h[-self.directions :]
        return self.fc(last.transpose(0, 1).flatten(1))
