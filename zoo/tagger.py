"""Recurrent layers by themselves, and a tagger built on them.

The tagger gives every token of a text scores for each tag, by way of embeddings and bidirectional
GRUs (Huang et al., "Bidirectional LSTM-CRF Models for Sequence Tagging", 2015, without the CRF).
Names are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bireme.frontend import nn


@dataclass(frozen=True)
class StackConfig:
    """Sizes of a stack of LSTM layers."""

    input_size: int = 256
    hidden_size: int = 256
    num_layers: int = 2


@dataclass(frozen=True)
class TaggerConfig:
    """Sizes of a tagger."""

    vocab_size: int = 10000
    embedding_dim: int = 256
    hidden_size: int = 256
    num_layers: int = 1
    num_tags: int = 50


def stack_inputs(config: StackConfig) -> Mapping[str, nn.Spec]:
    """Features of each step, steps first."""
    return {"x": nn.Spec(("seq", "batch", config.input_size), "float32")}


def tagger_inputs(_: TaggerConfig) -> Mapping[str, nn.Spec]:
    """Token ids, one row for each text."""
    return {"tokens": nn.Spec(("batch", "seq"), "int64")}


def tagger_limits(config: TaggerConfig) -> Mapping[str, int]:
    """Numbers that the values of each input are below."""
    return {"tokens": config.vocab_size}


def ranges(_: StackConfig | TaggerConfig) -> Mapping[str, nn.SymbolRange]:
    """Sequences may have any length; kernels are chosen for 64 steps."""
    return {"seq": nn.SymbolRange(1, None, 64)}


class LstmStack(nn.Module):
    """x [S, B, I] → the last layer's states [S, B, H]."""

    def __init__(self, config: StackConfig) -> None:
        self.lstm = nn.LSTM(config.input_size, config.hidden_size, config.num_layers)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        y: nn.Tensor = self.lstm(x)[0]
        return y


class Tagger(nn.Module):
    """Tokens [B, S] → scores [B, S, num_tags]."""

    def __init__(self, config: TaggerConfig) -> None:
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_dim)
        self.gru = nn.GRU(
            config.embedding_dim,
            config.hidden_size,
            config.num_layers,
            batch_first=True,
            bidirectional=True,
        )
        self.fc = nn.Linear(2 * config.hidden_size, config.num_tags)

    def forward(self, tokens: nn.Tensor) -> nn.Tensor:
        y, _ = self.gru(self.embedding(tokens))
        return self.fc(y)
