"""Rewrites and plans over the graph bank."""
