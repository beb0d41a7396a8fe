"""The sections of the Deconvolve panel in which a person chooses."""
