"""Entries of a model's card: the blur and noise that it was trained for, and its health."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_lucyd.deconvolution import plane_noise
from napari_lucyd.networks import LUCYD, Network, centre_update_term, division_share, measure_health
from napari_lucyd.simulation import make_psf, make_surrogate
from napari_lucyd.training.config import DataConfig, TrainingConfig

# Source of the patches, for the card: first estimates, or other images.
_DATA = {
    True: "first estimates of new structures (napari_lucyd.simulation)",
    False: "new phantoms after Li et al. 2022 (napari_lucyd.simulation)",
}
# Full width at half maximum of a Gaussian, in sigmas.
_FWHM = 2 * np.sqrt(2 * np.log(2))


def make_card(
    config: TrainingConfig,
    images: Tensor,
    *,
    steps: int,
    seconds: float,
    device: str,
    command: str,
    started_from: dict[str, Any] | None,
    metrics: dict[str, Any],
) -> dict[str, Any]:
    """Make the card of a trained model, plain JSON data.

    Parameters
    ----------
    config
        Configuration of the run.
    images
        Normalised patches (N, 1, [Z,] Y, X).
    steps, seconds, device
        Length of the run, and where it ran.
    command
        Command that repeats it.
    started_from
        Result of `start_from`; None for an untrained start.
    metrics
        Entries on quality.
    """
    data = config.data
    return {
        "title": config.title,
        "description": config.description,
        **trained_for(data, images),
        "poisson_noise": data.photometric,
        # Part of a surrogate's light falls outside the image, and a network may restore it.
        "flux_kept": data.track in ("open", "estimates") and config.schedule.flux_weight > 0,
        "training": {
            "track": data.track,
            "history": config.history,
            "data": _DATA[data.track == "estimates"],
            "patches": steps * config.schedule.batch_size,
            "steps": steps,
            "seed": config.schedule.seed,
            "seconds": round(seconds),
            "device": device,
            "torch": torch.__version__.split("+")[0],
            "config": config.as_dict(),
            "command": command,
            **({"started_from": started_from} if started_from else {}),
        },
        "metrics": metrics,
        "license": "BSD-3-Clause",
    }


def trained_for(data: DataConfig, images: Tensor) -> dict[str, Any]:
    """Return the card's entries on blur (sigma in voxels) and noise (sigma as a share of the range).

    Parameters
    ----------
    data
        Data of the training. The blur of a surrogate is the sigma of a Gaussian with the same full width at
        half maximum as its PSF.
    images
        Normalised patches (N, 1, [Z,] Y, X), in which a surrogate's noise is estimated.
    """
    if data.track == "estimates":
        faintest, brightest = data.photons
        low, high = data.noise_sigma
        return {
            "blur_sigma_voxels": list(data.blur_sigma),
            # Noise of the image before the first estimate: read noise, and photon noise at the brightness of
            # the contrast.
            "noise_sigma": [
                round(float(np.hypot(low / 255, brightest**-0.5)), 4),
                round(float(np.hypot(high / 255, faintest**-0.5)), 4),
            ],
            "axial_ratio": list(data.axial_ratio),
            "modalities": sorted(set(data.modalities)),
        }
    if data.specimen is None:
        return {
            "blur_sigma_voxels": [min(data.blur_sigma), max(data.blur_sigma)],
            "noise_sigma": [min(data.noise_sigma) / 255, max(data.noise_sigma) / 255],
            "axial_ratio": list(data.axial_ratio),
        }
    optics = make_surrogate(np.zeros((2, 2, 2)), data.specimen).parameters["psf"]
    psf = make_psf(**optics)
    axial, lateral = (round(_width(psf, axis) / float(_FWHM), 2) for axis in (0, 2))
    noise = [plane_noise(plane) for plane in images[:, 0, images.shape[2] // 2].cpu().numpy()]
    return {
        "specimen": data.specimen,
        "blur_sigma_voxels": [lateral, lateral],
        "noise_sigma": [round(min(noise), 4), round(max(noise), 4)],
        "axial_ratio": [round(axial / lateral, 1)] * 2,
    }


def _width(psf: npt.NDArray[np.floating[Any]], axis: int) -> float:
    """Return the full width at half maximum in voxels of the profile through the centre, of odd length."""
    centre = tuple(n // 2 for n in psf.shape)
    line = psf[(*centre[:axis], slice(centre[axis], None), *centre[axis + 1 :])]
    below = int(np.argmax(line < line[0] / 2))
    inner, outer = line[below - 1], line[below]
    return float(2 * (below - 1 + (inner - line[0] / 2) / (inner - outer)))


def finish(network: Network, images: Tensor, *, centre: bool = True) -> dict[str, Any]:
    """Centre LUCYD's update term, and measure its division and every network's health.

    Parameters
    ----------
    network
        Network in evaluation mode; changed in place.
    images
        Normalised images (N, 1, [Z,] Y, X) like those of the training.
    centre
        True to centre the update term, which adds a gain to the output.

    Returns
    -------
    dict
        Entries for the card's metrics.
    """
    measured: dict[str, Any] = {}
    if isinstance(network, LUCYD):
        if centre:
            centre_update_term(network, images)
        measured["division_share"] = round(division_share(network, images), 3)
    health = measure_health(network, [image[None] for image in images])
    measured["health"] = {
        "dead_channels": round(health.dead_channels, 4),
        "dead_layers": list(health.dead_layers),
    }
    if health.mask_share is not None and health.mask_spread is not None:
        measured["health"] |= {
            "mask_share": float(f"{health.mask_share:.3g}"),
            "mask_spread": float(f"{health.mask_spread:.3g}"),
        }
    return measured
