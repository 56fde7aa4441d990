"""The module DSL, `bireme.nn`; see docs/nn.md."""

from bireme.frontend.nn import *  # noqa: F403
from bireme.frontend.nn import __all__ as __all__
