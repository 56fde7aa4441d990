"""Published networks written in `bireme.nn`.

    model = bireme.zoo.create("mobilenet_v1", num_classes=10, seed=0)
    graph = bireme.zoo.trace("resnet50", sizes={"batch": 1})

Weights are random but sane: see docs/zoo.md. Parameter names are those of timm (image
networks) and Hugging Face transformers (BERT), whose safetensors files load unchanged.
"""

from bireme.zoo.bert import Bert, BertConfig
from bireme.zoo.inverted_residual import InvertedConfig, InvertedResidualNet, Stage
from bireme.zoo.mobilenet_v1 import MobileNetV1, MobileNetV1Config
from bireme.zoo.registry import MODELS, Entry, create, example, find, specs, trace
from bireme.zoo.registry import names as list  # noqa: A004 - reads bireme.zoo.list()
from bireme.zoo.resnet import ResNet, ResNetConfig
from bireme.zoo.tagger import LstmStack, StackConfig, Tagger, TaggerConfig
from bireme.zoo.text_classifier import TextClassifier, TextClassifierConfig
from bireme.zoo.vit import Vit, VitConfig

__all__ = [
    "MODELS",
    "Bert",
    "BertConfig",
    "Entry",
    "InvertedConfig",
    "InvertedResidualNet",
    "LstmStack",
    "MobileNetV1",
    "MobileNetV1Config",
    "ResNet",
    "ResNetConfig",
    "StackConfig",
    "Stage",
    "Tagger",
    "TaggerConfig",
    "TextClassifier",
    "TextClassifierConfig",
    "Vit",
    "VitConfig",
    "create",
    "example",
    "find",
    "list",
    "specs",
    "trace",
]
