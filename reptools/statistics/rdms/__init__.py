"""Distances between patterns, their noise, and what compares two sets of distances."""
