"""Fast forward passes of the networks, one block of voxels at a time."""
