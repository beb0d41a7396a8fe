"""Tiles, halos and the order of work, as integers."""
