"""LUCYD as a list of fused layers, run by kernels compiled for this processor or this GPU."""
