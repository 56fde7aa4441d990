"""BERT: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers", 2018.

Names are those of Hugging Face transformers' BertModel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bireme.frontend import nn
from bireme.frontend.nn import functional as F  # noqa: N812 - its usual name
from bireme.frontend.nn import init
from bireme.ir import BiremeError

# Standard deviation of the initial weights, and where their tails are cut (in deviations).
STD = 0.02
CUT = 2.0


@dataclass(frozen=True)
class BertConfig:
    """Sizes of an encoder; the defaults are BERT-base, uncased."""

    vocab_size: int = 30522
    hidden_size: int = 768
    num_layers: int = 12
    num_heads: int = 12
    intermediate_size: int = 3072
    max_positions: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12


BASE = BertConfig()
SMALL = BertConfig(hidden_size=512, num_layers=4, num_heads=8, intermediate_size=2048)
TINY = BertConfig(hidden_size=128, num_layers=2, num_heads=2, intermediate_size=512)


def inputs(_: BertConfig) -> Mapping[str, nn.Spec]:
    """Token ids, which of them are real (1) or padding (0), and sentence numbers."""
    spec = nn.Spec(("batch", "seq"), "int64")
    return {"input_ids": spec, "attention_mask": spec, "token_type_ids": spec}


def limits(config: BertConfig) -> Mapping[str, int]:
    """Numbers that the values of each input are below."""
    return {
        "input_ids": config.vocab_size,
        "attention_mask": 2,
        "token_type_ids": config.type_vocab_size,
    }


def ranges(config: BertConfig) -> Mapping[str, nn.SymbolRange]:
    """There are position embeddings for so many tokens; kernels are chosen for 128."""
    return {"seq": nn.SymbolRange(1, config.max_positions, min(128, config.max_positions))}


def _linear(in_features: int, out_features: int) -> nn.Linear:
    """A linear layer that starts as BERT's do."""
    layer = nn.Linear(in_features, out_features)
    layer.weight.initializer = init.Normal(STD, cut=CUT)
    if layer.bias is not None:
        layer.bias.initializer = init.ZEROS
    return layer


def _embedding(count: int, width: int) -> nn.Embedding:
    table = nn.Embedding(count, width)
    table.weight.initializer = init.Normal(STD, cut=CUT)
    return table


class Embeddings(nn.Module):
    """The normalised sum of word, position and sentence embeddings."""

    def __init__(self, config: BertConfig) -> None:
        self.word_embeddings = _embedding(config.vocab_size, config.hidden_size)
        self.position_embeddings = _embedding(config.max_positions, config.hidden_size)
        self.token_type_embeddings = _embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(self, input_ids: nn.Tensor, token_type_ids: nn.Tensor) -> nn.Tensor:
        """[B, S] and [B, S] → [B, S, H]."""
        positions = self.position_embeddings.weight[: input_ids.shape[1]]
        total = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)
        return self.LayerNorm(total + positions)


class SelfAttention(nn.Module):
    """Queries, keys and values of one layer."""

    def __init__(self, config: BertConfig) -> None:
        self.heads = config.num_heads
        self.query = _linear(config.hidden_size, config.hidden_size)
        self.key = _linear(config.hidden_size, config.hidden_size)
        self.value = _linear(config.hidden_size, config.hidden_size)

    def forward(self, x: nn.Tensor, mask: nn.Tensor) -> nn.Tensor:
        """[B, S, H] and which tokens are real [B, 1, 1, S] → [B, S, H]."""
        q, k, v = (self._split(layer(x)) for layer in (self.query, self.key, self.value))
        y = F.scaled_dot_product_attention(q, k, v, mask)
        return y.permute(0, 2, 1, 3).reshape(*x.shape)

    def _split(self, x: nn.Tensor) -> nn.Tensor:
        """[B, S, H] → [B, heads, S, H / heads]."""
        b, s, h = x.shape
        return x.reshape(b, s, self.heads, h // self.heads).permute(0, 2, 1, 3)


class Residual(nn.Module):
    """A linear layer, added to the block's input and normalised."""

    def __init__(self, in_features: int, config: BertConfig) -> None:
        self.dense = _linear(in_features, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(self, x: nn.Tensor, shortcut: nn.Tensor) -> nn.Tensor:
        return self.LayerNorm(self.dense(x) + shortcut)


class Attention(nn.Module):
    """Self-attention with its output projection."""

    def __init__(self, config: BertConfig) -> None:
        self.self = SelfAttention(config)
        self.output = Residual(config.hidden_size, config)

    def forward(self, x: nn.Tensor, mask: nn.Tensor) -> nn.Tensor:
        attended: nn.Tensor = self.output(self.self(x, mask), x)
        return attended


class Intermediate(nn.Module):
    """The wide half of the feed-forward part."""

    def __init__(self, config: BertConfig) -> None:
        self.dense = _linear(config.hidden_size, config.intermediate_size)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        return F.gelu(self.dense(x))


class Layer(nn.Module):
    """One layer of the encoder: attention, then two linear layers on each token."""

    def __init__(self, config: BertConfig) -> None:
        self.attention = Attention(config)
        self.intermediate = Intermediate(config)
        self.output = Residual(config.intermediate_size, config)

    def forward(self, x: nn.Tensor, mask: nn.Tensor) -> nn.Tensor:
        x = self.attention(x, mask)
        result: nn.Tensor = self.output(self.intermediate(x), x)
        return result


class Encoder(nn.Module):
    """The layers, one after another."""

    def __init__(self, config: BertConfig) -> None:
        self.layer = nn.ModuleList([Layer(config) for _ in range(config.num_layers)])

    def forward(self, x: nn.Tensor, mask: nn.Tensor) -> nn.Tensor:
        for layer in self.layer:
            x = layer(x, mask)
        return x


class Pooler(nn.Module):
    """A summary of the sequence from its first token."""

    def __init__(self, config: BertConfig) -> None:
        self.dense = _linear(config.hidden_size, config.hidden_size)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        return F.tanh(self.dense(x[:, 0]))


class Bert(nn.Module):
    """Token ids [B, S] → `last_hidden_state` [B, S, H] and `pooler_output` [B, H]."""

    def __init__(self, config: BertConfig) -> None:
        if config.hidden_size % config.num_heads:
            detail = f"hidden_size {config.hidden_size} cannot be cut into {config.num_heads} heads"
            raise BiremeError("BM6002", detail, where="Bert")
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.pooler = Pooler(config)

    def forward(
        self,
        input_ids: nn.Tensor,
        attention_mask: nn.Tensor | None = None,
        token_type_ids: nn.Tensor | None = None,
    ) -> dict[str, nn.Tensor]:
        """All tokens take part, and are of the first sentence, unless said otherwise."""
        if token_type_ids is None:
            token_type_ids = F.zeros(input_ids.shape, "int64")
        if attention_mask is None:
            attention_mask = F.ones(input_ids.shape, "int64")
        x = self.embeddings(input_ids, token_type_ids)
        mask = attention_mask[:, None, None, :] != 0
        x = self.encoder(x, mask)
        return {"last_hidden_state": x, "pooler_output": self.pooler(x)}
