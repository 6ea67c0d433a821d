"""Measurements against other packages and against the machine: ``python -m benchmarks``."""
