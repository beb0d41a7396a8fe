"""The forward pass: a network made fast, one block of voxels at a time."""
