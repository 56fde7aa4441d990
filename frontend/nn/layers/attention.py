"""Multi-head attention (Vaswani et al., 2017)."""

from __future__ import annotations

from bireme.frontend.nn import functional as F  # noqa: N812 - its usual name
from bireme.frontend.nn import init
from bireme.frontend.nn.dispatch import place
from bireme.frontend.nn.layers.basic import Linear
from bireme.frontend.nn.module import Module
from bireme.frontend.nn.tensor import Tensor
from bireme.frontend.nn.variable import Parameter, shape_or_none
from bireme.ir import BiremeError


class MultiheadAttention(Module):
    """Attention over `num_heads` slices of the width E.

    Tensors are [L, N, E], or [N, L, E] with `batch_first`. As in PyTorch, and unlike
    `scaled_dot_product_attention`, True in a bool mask marks what is left out.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, *, bias: bool = True, batch_first: bool = False
    ) -> None:
        if embed_dim % num_heads:
            detail = f"embed_dim={embed_dim} cannot be cut into num_heads={num_heads}"
            raise BiremeError("BM1006", detail, where=f"MultiheadAttention ({place()})")
        self.embed_dim, self.num_heads, self.batch_first = embed_dim, num_heads, batch_first
        self.in_proj_weight = Parameter((3 * embed_dim, embed_dim), init.Xavier())
        self.in_proj_bias = shape_or_none(bias, (3 * embed_dim,), init.ZEROS)
        self.out_proj = Linear(embed_dim, embed_dim, bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        *,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The result, and weights averaged over the heads [N, L, S] if `need_weights`.

        `key_padding_mask` is [N, S], `attn_mask` [L, S] or [N·heads, L, S].
        """
        q, k, v = (self._heads(x, i) for i, x in enumerate((query, key, value)))
        n, heads, length, width = q.shape
        masks: list[Tensor] = []
        if attn_mask is not None:
            axes = attn_mask.shape if attn_mask.ndim == 2 else (n, heads, *attn_mask.shape[1:])
            masks.append(_allowed(attn_mask).reshape(*axes))
        if key_padding_mask is not None:
            masks.append(_allowed(key_padding_mask).reshape(n, 1, 1, k.shape[2]))
        if is_causal:
            masks.append(F.causal_mask(length, k.shape[2]))
        weights = F.attention_weights(q, k, masks)
        merged = (weights @ v).permute(0, 2, 1, 3).reshape(n, length, heads * width)
        result = self.out_proj(merged if self.batch_first else merged.transpose(0, 1))
        return result, weights.mean(1) if need_weights else None

    def _heads(self, x: Tensor, which: int) -> Tensor:
        """Projected and cut: [N, heads, L, E/heads]."""
        rows = slice(which * self.embed_dim, (which + 1) * self.embed_dim)
        bias = None if self.in_proj_bias is None else self.in_proj_bias[rows]
        if not self.batch_first:
            x = x.transpose(0, 1)
        y = F.linear(x, self.in_proj_weight[rows], bias)
        n, length, width = y.shape
        return y.reshape(n, length, self.num_heads, width // self.num_heads).permute(0, 2, 1, 3)

    def extra_repr(self) -> str:
        return f"{self.embed_dim}, {self.num_heads}, batch_first={self.batch_first}"


def _allowed(mask: Tensor) -> Tensor:
    """PyTorch's mask of what is left out as one of what takes part; a float mask as it is."""
    return mask if mask.dtype.is_float else ~mask
