"""Window in which a model is trained for one microscope."""
