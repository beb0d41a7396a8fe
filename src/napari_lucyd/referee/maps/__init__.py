"""Maps of a result without a truth: where it does not explain the image, and an interval for each voxel."""
