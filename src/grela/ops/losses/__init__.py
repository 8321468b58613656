"""Losses over the catalogue."""
