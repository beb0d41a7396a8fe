"""Runs of a network, tile by tile."""
