"""Steps before any method: background, noise filter, missing voxels."""
