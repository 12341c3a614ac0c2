"""Restoration by a model: what was measured of someone's data, and the clean data that explain it."""
