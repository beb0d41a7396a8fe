"""OME-TIFF files as microscopes write them, for tests."""

from __future__ import annotations

from pathlib import Path


def write_ome_set(folder: Path, images) -> list[list[Path]]:
    """Write images (T, Z, Y, X), each time point into a file that tells of all files, as microscopes do."""
    import tifffile

    names = [[f"s{p}_T{t}.ome.tif" for t in range(len(image))] for p, image in enumerate(images)]
    described = ""
    for image, files in zip(images, names, strict=True):
        count, depth, height, width = image.shape
        planes = "".join(
            f'<TiffData FirstT="{t}" FirstZ="{z}" IFD="{z}" PlaneCount="1">'
            f'<UUID FileName="{file}">urn:uuid:{file}</UUID></TiffData>'
            for t, file in enumerate(files)
            for z in range(depth)
        )
        described += (
            f'<Image ID="{files[0]}"><Pixels ID="{files[0]}" DimensionOrder="XYZCT" Type="{image.dtype}" '
            f'SizeX="{width}" SizeY="{height}" SizeZ="{depth}" SizeC="1" SizeT="{count}">'
            f'<Channel ID="C" SamplesPerPixel="1"/>{planes}</Pixels></Image>'
        )
    namespace = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    for image, files in zip(images, names, strict=True):
        for stack, file in zip(image, files, strict=True):
            text = f'<?xml version="1.0"?><OME xmlns="{namespace}" UUID="urn:uuid:{file}">{described}</OME>'
            tifffile.imwrite(folder / file, stack, description=text, metadata=None, photometric="minisblack")
    return [[folder / file for file in files] for files in names]
