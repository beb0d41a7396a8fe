"""Statistics of the whole image: percentiles, intensity scaling, noise."""
