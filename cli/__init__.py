"""The `bireme` command."""
