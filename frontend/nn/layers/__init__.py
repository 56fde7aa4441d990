"""Layers: modules with PyTorch's arguments, parameter names and shapes."""

from bireme.frontend.nn.layers.activation import (
    ELU,
    GELU,
    Hardsigmoid,
    Hardswish,
    LeakyReLU,
    LogSoftmax,
    Mish,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from bireme.frontend.nn.layers.attention import MultiheadAttention
from bireme.frontend.nn.layers.basic import Dropout, Embedding, Flatten, Identity, Linear
from bireme.frontend.nn.layers.conv import Conv1d, Conv2d, Conv3d, ConvTranspose2d
from bireme.frontend.nn.layers.norm import BatchNorm1d, BatchNorm2d, GroupNorm, LayerNorm, RMSNorm
from bireme.frontend.nn.layers.pool import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from bireme.frontend.nn.layers.recurrent import GRU, LSTM

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose2d",
    "Dropout",
    "Embedding",
    "Flatten",
    "GroupNorm",
    "Hardsigmoid",
    "Hardswish",
    "Identity",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MaxPool2d",
    "Mish",
    "MultiheadAttention",
    "RMSNorm",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
]
