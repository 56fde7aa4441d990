"""A module DSL that traces into the graph bank."""
