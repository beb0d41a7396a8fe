"""The Deconvolve panel."""
