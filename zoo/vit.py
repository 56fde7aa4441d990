"""ViT: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2020.

The smallest form is Touvron et al.'s, "Training data-efficient image transformers & distillation
through attention", 2020, table 1, without the distillation token. Names are timm's.
"""

from __future__ import annotations

from dataclasses import dataclass

from bireme.frontend import nn
from bireme.frontend.nn import functional as F  # noqa: N812 - its usual name
from bireme.frontend.nn import init
from bireme.ir import BiremeError

EPSILON = 1e-6
# Standard deviation of the class token and of the position embeddings.
STD = 0.02


@dataclass(frozen=True)
class VitConfig:
    """Sizes of an encoder; the defaults are ViT-tiny."""

    width: int = 192
    num_layers: int = 12
    num_heads: int = 3
    mlp_ratio: int = 4
    patch_size: int = 16
    num_classes: int = 1000
    in_channels: int = 3
    image_size: int = 224


class PatchEmbed(nn.Module):
    """Cuts a picture into squares and embeds each."""

    def __init__(self, config: VitConfig) -> None:
        size = config.patch_size
        self.proj = nn.Conv2d(config.in_channels, config.width, size, stride=size)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        """[N, 3, H, W] → [N, patches, width]."""
        return self.proj(x).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Self-attention with one projection to queries, keys and values."""

    def __init__(self, config: VitConfig) -> None:
        self.heads = config.num_heads
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.proj = nn.Linear(config.width, config.width)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        """[N, S, width] → the same shape."""
        n, s, width = x.shape
        qkv = self.qkv(x).reshape(n, s, 3, self.heads, width // self.heads)
        q, k, v = (qkv[:, :, i].transpose(1, 2) for i in range(3))
        y = F.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(n, s, width))


class Mlp(nn.Module):
    """Two linear layers on each token."""

    def __init__(self, config: VitConfig) -> None:
        self.fc1 = nn.Linear(config.width, config.mlp_ratio * config.width)
        self.fc2 = nn.Linear(config.mlp_ratio * config.width, config.width)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        """[N, S, width] → the same shape."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Attention and linear layers, each on the normalised input, added to it."""

    def __init__(self, config: VitConfig) -> None:
        self.norm1 = nn.LayerNorm(config.width, EPSILON)
        self.attn = Attention(config)
        self.norm2 = nn.LayerNorm(config.width, EPSILON)
        self.mlp = Mlp(config)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        """[N, S, width] → the same shape."""
        x = x + self.attn(self.norm1(x))
        result: nn.Tensor = x + self.mlp(self.norm2(x))
        return result


class Vit(nn.Module):
    """[N, 3, H, W] → scores [N, num_classes]."""

    def __init__(self, config: VitConfig) -> None:
        if config.width % config.num_heads:
            detail = f"width {config.width} cannot be cut into {config.num_heads} heads"
            raise BiremeError("BM6002", detail, where="Vit")
        if config.image_size % config.patch_size:
            detail = f"{config.image_size} pixels cannot be cut into {config.patch_size}s"
            raise BiremeError("BM6002", detail, where="Vit")
        tokens = (config.image_size // config.patch_size) ** 2 + 1
        self.cls_token = nn.Parameter((1, 1, config.width), init.Normal(STD))
        self.pos_embed = nn.Parameter((1, tokens, config.width), init.Normal(STD))
        self.patch_embed = PatchEmbed(config)
        self.blocks = nn.Sequential(*(Block(config) for _ in range(config.num_layers)))
        self.norm = nn.LayerNorm(config.width, EPSILON)
        self.head = nn.Linear(config.width, config.num_classes)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        """[N, 3, H, W] → [N, num_classes]."""
        patches = self.patch_embed(x)
        token = F.broadcast_to(self.cls_token, (patches.shape[0], *self.cls_token.shape[1:]))
        x = F.cat([token, patches], 1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])
