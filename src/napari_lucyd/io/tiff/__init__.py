"""TIFF files: OME-TIFF, ImageJ hyperstacks, LSM, STK, plain pages."""
