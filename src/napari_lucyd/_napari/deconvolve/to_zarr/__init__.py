"""Runs whose results go to OME-Zarr files."""
