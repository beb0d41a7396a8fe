"""Tiles, halos and the order of work, in whole numbers."""
