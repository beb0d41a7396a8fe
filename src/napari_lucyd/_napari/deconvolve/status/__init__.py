"""The lower part of the Deconvolve panel: estimate, progress, result and the referee's lines."""
