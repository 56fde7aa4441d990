"""Bireme: compile a model to one file, load it, run it."""
