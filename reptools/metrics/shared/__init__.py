"""Kernels and helpers that several metrics share; no declaration stands here."""
