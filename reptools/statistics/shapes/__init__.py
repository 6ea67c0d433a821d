"""Spectra, canonical directions and neighbours."""
