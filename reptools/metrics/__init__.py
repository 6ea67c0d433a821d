"""Metrics, one declaration each; the public functions are re-exported by ``reptools``."""
