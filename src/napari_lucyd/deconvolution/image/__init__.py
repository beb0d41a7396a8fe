"""The input image: its axes, and its voxels read a part at a time."""
