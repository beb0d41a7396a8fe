"""Batches of images with the same settings: inputs, destinations, and the writing of results."""
