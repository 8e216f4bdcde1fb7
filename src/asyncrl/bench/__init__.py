"""Measures how fast training is beside its raw environments."""
