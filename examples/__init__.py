"""Programs that show how Bireme is used."""
