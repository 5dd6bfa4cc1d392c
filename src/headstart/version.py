"""The version of this package, as results and exported files name it."""

__version__ = "0.1.1"
