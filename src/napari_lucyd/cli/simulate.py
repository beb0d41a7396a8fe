"""The command ``lucyd simulate``: a synthetic sample with its truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_lucyd.cli.shared.console import Console, fail, interruptible, print_path
from napari_lucyd.cli.shared.option_types import (
    Specimen,
    Structures,
    fitting_memory,
    number,
    numbers,
    refuse_given,
    voxel_steps,
    whole_numbers,
)
from napari_lucyd.cli.shared.paths import looks_like_a_file
from napari_lucyd.spans import spatial_axes
from napari_lucyd.text import printable

_OWN_DEGRADATION = ("blur_sigma", "noise_sigma", "photons", "photometric")
_SURROGATE = ("voxel_size", "sheet_fwhm_um")


def simulate(
    context: typer.Context,
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", metavar="OUT", help="Folder, or file for the degraded image.", show_default=False
        ),
    ],
    shape: Annotated[
        str,
        typer.Option(metavar="Z,Y,X", help="Size in voxels; Y,X for a single plane."),
    ] = "128,128,128",
    structures: Annotated[
        Structures | None,
        typer.Option(help="Draw structures like those of cells instead of a phantom.", show_default="none"),
    ] = None,
    blur_sigma: Annotated[
        str,
        typer.Option(metavar="S", help="Blur in voxels: one number, or one for each axis."),
    ] = "1.2",
    noise_sigma: Annotated[
        str,
        typer.Option(metavar="S", help="Gaussian noise as a share of the image's range."),
    ] = "15/255",
    photons: Annotated[
        float | None,
        typer.Option(help="Photons at the brightest voxel: adds Poisson noise.", show_default="none"),
    ] = None,
    photometric: Annotated[
        bool, typer.Option("--photometric", help="Keep truth and degraded image in the same units.")
    ] = False,
    surrogate: Annotated[
        Specimen | None,
        typer.Option(
            help="Simulate optics and camera instead of the blur and noise given here; units are kept.",
            show_default="none",
        ),
    ] = None,
    voxel_size: Annotated[
        str,
        typer.Option(metavar="Z,Y,X", help="Surrogates: voxel size in µm; one number for all axes."),
    ] = "0.1625",
    sheet_fwhm_um: Annotated[
        float | None,
        typer.Option(metavar="UM", help="Light sheet: full width at half maximum in µm.", show_default="3.5"),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed makes the same sample.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
) -> None:
    """Make a synthetic sample: a specimen (the truth) and what a microscope makes of it.

    Writes OUT/degraded.ome.tif and OUT/truth.ome.tif. If OUT is a file, writes
    OUT and a second file with _truth added to the name. Both contain the
    parameters that made them. Surrogates imitate the paper's nuclei, membrane
    and light-sheet images, whose optics are not published.

    \b
    Examples:
      lucyd simulate -o sample/
      lucyd simulate -o hard.ome.tif --blur-sigma 2 --noise-sigma 50/255 --seed 7
      lucyd simulate -o stretched/ --blur-sigma 2,1,1 --photons 200
      lucyd simulate -o nuclei/ --surrogate nuclei
      lucyd simulate -o fibres/ --structures filaments --photometric --photons 200
    """
    from napari_lucyd.io import ImageFileError, check_name, is_writable_path, stem, write_image
    from napari_lucyd.simulation import degrade, make_phantom, make_structures, make_surrogate
    from napari_lucyd.simulation.phantoms import BACKGROUND
    from napari_lucyd.simulation.psf import voxel_sizes
    from napari_lucyd.simulation.structures import BLUR_SIGMA

    sizes = whole_numbers(shape, "--shape")
    blur = numbers(blur_sigma, "--blur-sigma")
    noise = number(noise_sigma, "--noise-sigma")
    steps = voxel_steps(voxel_size, "--voxel-size")
    reason = f"--surrogate {surrogate.value} sets it" if surrogate else "only --surrogate uses it"
    refuse_given(context, _OWN_DEGRADATION if surrogate else _SURROGATE, reason)
    if is_writable_path(out):
        degraded, truth = out, out.with_name(f"{stem(out)}_truth{out.name[len(stem(out)) :]}")
    elif looks_like_a_file(out) and not out.is_dir():
        raise typer.BadParameter(f"{printable(out)}: expected a folder, or a file like sample.ome.tif")
    else:
        degraded, truth = out / "degraded.ome.tif", out / "truth.ome.tif"
    taken = [path for path in (degraded, truth) if path.exists()]
    if taken and not overwrite:
        fail(f"{taken[0]} exists already; choose another OUT or add --overwrite")
    with interruptible(), fitting_memory(sizes):
        try:
            check_name(degraded)
            if structures:
                phantom = make_structures(
                    structures.value,
                    sizes,
                    rng=seed,
                    background=BACKGROUND,
                    anisotropy=steps[0] / steps[-1] if surrogate else 1.0,
                    blur_sigma=BLUR_SIGMA if surrogate else blur[0] if len(blur) == 1 else blur,
                )
            else:
                phantom = make_phantom(sizes, rng=seed)
            if surrogate:
                sample = make_surrogate(
                    phantom, surrogate.value, voxel_size=steps, sheet_fwhm_um=sheet_fwhm_um, rng=seed
                )
            else:
                sample = degrade(
                    phantom,
                    blur_sigma=blur[0] if len(blur) == 1 else blur,
                    noise_sigma=noise,
                    photons=photons,
                    photometric=photometric,
                    # Blurred, thin structures keep little of their brightness: noise is a share of that.
                    noise_reference="image" if structures else "truth",
                    rng=seed,
                )
            degraded.parent.mkdir(parents=True, exist_ok=True)
            for path, image, shows in ((degraded, sample.image, "degraded"), (truth, sample.truth, "truth")):
                notes = {"shows": shows, "simulation": sample.parameters}
                write_image(
                    path,
                    image,
                    axes=spatial_axes(len(sizes)),
                    voxel_size=voxel_sizes(steps, len(sizes)) if surrogate else None,
                    unit="micrometer" if surrogate else None,
                    metadata=notes,
                    overwrite=overwrite,
                )
                print_path(path)
        except (ImageFileError, OSError, ValueError) as error:
            fail(error)
    if surrogate:
        Console().say(f"Surrogate of {surrogate.value}, voxels of {voxel_size} µm, seed {seed}")
    else:
        light = f", {photons:g} photons at the brightest voxel" if photons is not None else ""
        Console().say(f"Blur σ {blur_sigma} voxels, noise σ {noise:.3g} of the range{light}, seed {seed}")
