"""Python binding of the runtime; imports nothing else of Bireme."""
