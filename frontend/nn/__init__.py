"""Models as Python classes: modules with parameters, run on NumPy arrays or traced into a graph.

    class Classifier(nn.Module):
        def __init__(self, width: int) -> None:
            self.hidden = nn.Linear(784, width)
            self.out = nn.Linear(width, 10)

        def forward(self, x: nn.Tensor) -> nn.Tensor:
            return self.out(F.relu(self.hidden(x)))

    model = Classifier(32)
    scores = model(images).numpy()                                      # eager
    graph = nn.trace(model, {"x": nn.Spec(("batch", 784), "float32")})  # a bireme.ir.Graph

Layer, argument and parameter names are PyTorch's, so its safetensors files load unchanged.
"""

from bireme.frontend.nn import functional, init
from bireme.frontend.nn.control import cond, scan, while_loop
from bireme.frontend.nn.files import load_safetensors, save_safetensors
from bireme.frontend.nn.layers import (
    ELU,
    GELU,
    GRU,
    LSTM,
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose2d,
    Dropout,
    Embedding,
    Flatten,
    GroupNorm,
    Hardsigmoid,
    Hardswish,
    Identity,
    LayerNorm,
    LeakyReLU,
    Linear,
    LogSoftmax,
    MaxPool2d,
    Mish,
    MultiheadAttention,
    ReLU,
    ReLU6,
    RMSNorm,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from bireme.frontend.nn.module import Module, ModuleList, Sequential
from bireme.frontend.nn.tensor import Tensor
from bireme.frontend.nn.tracing import Spec, trace
from bireme.frontend.nn.variable import Buffer, Parameter, seed
from bireme.ir import SymbolRange

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Buffer",
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
    "Module",
    "ModuleList",
    "MultiheadAttention",
    "Parameter",
    "RMSNorm",
    "ReLU",
    "ReLU6",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Spec",
    "SymbolRange",
    "Tanh",
    "Tensor",
    "cond",
    "functional",
    "init",
    "load_safetensors",
    "save_safetensors",
    "scan",
    "seed",
    "trace",
    "while_loop",
]
