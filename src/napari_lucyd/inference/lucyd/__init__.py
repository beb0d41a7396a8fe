"""LUCYD as a list of fused layers, computed by kernels compiled for this processor or GPU."""
