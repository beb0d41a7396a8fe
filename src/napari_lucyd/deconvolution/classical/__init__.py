"""Richardson-Lucy and Wiener: methods that need a point-spread function."""
