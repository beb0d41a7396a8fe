"""The input image: its axes, and reading its voxels part by part."""
