"""Models written in the DSL."""
