"""Repetition of simulated samples from the parameters that files and layers keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy.typing as npt

from napari_lucyd.simulation.acquisition import acquire
from napari_lucyd.simulation.degradation import Degraded, blur_psf, degrade
from napari_lucyd.simulation.phantoms import FloatImage, Phantom, make_phantom
from napari_lucyd.simulation.psf import make_psf
from napari_lucyd.simulation.structures import make_structures


def repeat_simulation(parameters: Mapping[str, Any], *, psf: npt.ArrayLike | None = None) -> Degraded:
    """Make a simulated sample again, voxel for voxel.

    Parameters
    ----------
    parameters
        Parameters of a `Degraded` made from a phantom; in the metadata of a layer or a file they are under
        ``"simulation"``.
    psf
        PSF, if it was neither computed from the optics nor a Gaussian. The parameters then give only its
        layer or its file.

    Returns
    -------
    Degraded
        Image, truth and the same parameters.

    Raises
    ------
    ValueError
        If the parameters are incomplete.

    Examples
    --------
    >>> import napari_lucyd as nl
    >>> sample = nl.degrade(nl.make_phantom((20, 32, 32), rng=1), photometric=True).in_counts(850)
    >>> bool((repeat_simulation(sample.parameters).image == sample.image).all())
    True
    """
    made = dict(parameters)
    if "phantom" not in made:
        reason = "are those of a sharp phantom, which make_phantom(**parameters) makes"
        if "kind" in made:
            reason = "are those of a sharp specimen, which make_structures(**parameters) makes"
        elif "spheres" not in made:
            reason = "name no phantom, so that the truth is not known"
        raise ValueError(f"The parameters {reason}; give those of a degraded phantom.")
    phantom, counts, z_step = made.pop("phantom"), made.pop("counts", None), made.pop("z_step", None)
    made.pop("surrogate", None)  # its numbers are complete
    if "blur_sigma" in made:
        sample = degrade(_specimen(phantom), **made)
    else:
        record = made.pop("psf", {})
        if psf is None:
            psf = make_psf(**_optics(record))
        sample = acquire(_specimen(phantom), psf, psf_parameters=record, **made)
    if counts is not None:
        sample = sample.in_counts(counts)
    if z_step is not None:
        sample = sample.with_z_step(z_step)
    return replace(sample, parameters=dict(parameters))


def simulated_psf(
    parameters: Mapping[str, Any], *, progress: Callable[[int, int], object] | None = None
) -> FloatImage:
    """Return the PSF that a simulated sample was blurred with.

    Parameters
    ----------
    parameters
        Parameters of the simulation; see `repeat_simulation`.
    progress
        Function for progress; see `make_psf`.

    Returns
    -------
    numpy.ndarray
        (Z, Y, X) or (Y, X), odd sizes, centre in the middle, sum 1, float32.

    Raises
    ------
    ValueError
        If the parameters do not give the PSF, or if planes were left out, which no PSF describes.

    Examples
    --------
    >>> import napari_lucyd as nl
    >>> sample = nl.degrade(nl.make_phantom((32, 32), rng=1), blur_sigma=1.2)
    >>> simulated_psf(sample.parameters).shape
    (7, 7)
    """
    if "z_step" in parameters:
        raise ValueError(
            f"The sample keeps one plane in {parameters['z_step']}, and no PSF is computed for such planes; "
            "give a sample with all its planes."
        )
    if "blur_sigma" in parameters:
        return blur_psf(parameters["blur_sigma"], photometric=parameters["photometric"])
    return make_psf(**_optics(parameters.get("psf", {})), progress=progress)


def _specimen(parameters: Mapping[str, Any]) -> Phantom:
    """Draw the truth again."""
    return make_structures(**parameters) if "kind" in parameters else make_phantom(**parameters)


def _optics(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords of `make_psf`."""
    if "kind" not in record:
        name = record.get("layer") or record.get("file")
        where = f"was “{name}”" if name else "is not recorded"
        raise ValueError(f"The PSF {where} and cannot be computed from the optics; give it as psf.")
    # Files of version 0.1 name the voxel size by its unit.
    return {"voxel_size" if name == "voxel_size_um" else name: value for name, value in record.items()}
