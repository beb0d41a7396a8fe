"""Batches from the window: files or layers in, files out, and a table of what happened."""
