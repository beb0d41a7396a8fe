"""The Inspect panel: looks at a result beside its image, and says where it came from."""
