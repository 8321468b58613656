"""Readers: one way in for every format, each row with its place in the source."""
