"""Measurements beside other engines."""
