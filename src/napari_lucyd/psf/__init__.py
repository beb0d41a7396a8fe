"""Point-spread functions that were given or measured: their origin, camera offset and sampling."""
