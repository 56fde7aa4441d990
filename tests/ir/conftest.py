"""Hypothesis draws the same examples on every run and has no deadline: no test depends on time."""

from hypothesis import settings

settings.register_profile("ir", deadline=None, derandomize=True)
settings.load_profile("ir")
