"""Small scripts of the repository; nothing here is installed."""
