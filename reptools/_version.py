"""The version, written here and nowhere else: the packaging reads it from this line."""

__version__ = "0.1.0"
