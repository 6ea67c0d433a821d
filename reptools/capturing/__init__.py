"""Capture: any torch model and its inputs to the same file as every other system."""

from reptools.capturing.running import capture

__all__ = ["capture"]
