"""Layers of the viewer: read as input, created as results, drawn on, saved."""
