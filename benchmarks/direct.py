"""LUCYD straight on the image against LUCYD on first estimates, for one widefield PSF.

In optical units the PSF of a widefield microscope hardly depends on its objective, so a network that sees the
image itself needs to know one PSF for each sampling. Here both ways get the same training: as many patches of
the same specimens under one PSF, the same network, start and schedule. Then both restore specimens that were
not trained on and, if DATA is given, the sharp stack nuclei_cells3d.tif under three objectives, with voxels
that have the trained size in optical units. See docs/decisions/0014-a-living-network.md.

python benchmarks/direct.py [--patches 2400] [DATA]
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from real_images import EMISSION_UM, Image, psnr, widefield

import napari_lucyd as nl
from napari_lucyd.deconvolution import first_estimate
from napari_lucyd.models.normalization import Normalization
from napari_lucyd.networks import LUCYD, LucydConfig
from napari_lucyd.simulation import acquire
from napari_lucyd.training.config import DataConfig, ScheduleConfig, TrainingConfig
from napari_lucyd.training.data import MakeSpecimen, Patch, Patches
from napari_lucyd.training.estimates import EstimateSpecimen, KnownMicroscope
from napari_lucyd.training.trainer import Trainer

# Voxels in optical units along Z and across, as in `real_images.widefield`.
AXIAL, LATERAL = 0.17, 0.25
APERTURE, INDEX = 0.8, 1.33
KINDS = ("puncta", "filaments", "sheets", "bodies", "tubules")
# Photons of bright parts in the specimens for the comparison, and their seeds: none is trained on.
PHOTONS, SEEDS = (2000.0, 200.0), (300, 301)
NORMALIZATION = Normalization("first_estimate", pedestal=0.25)
CONFIG = TrainingConfig(
    name="direct",
    network=LucydConfig(dimension=3, epsilon=0.01, padding="replicate"),
    normalization=NORMALIZATION,
    data=DataConfig(
        track="estimates",
        modalities=("widefield",),
        blur_sigma=(0.7, 3.0),
        photons=(80.0, 20000.0),
        noise_sigma=(0.25, 8.0),
        patch_shape=(16, 40, 40),
        phantom_shape=(32, 80, 80),
        gain=(0.7, 1.4),
        offset=(-0.05, 0.05),
        alive=8,
        patches_per_phantom=64,
        seed=31,
    ),
    schedule=ScheduleConfig(
        patches=2400,
        batch_size=8,
        learning_rate=2e-3,
        loss="lucyd_each",
        flux_weight=5.0,
        free_norms=0.0,
        measured_norms=True,
        identity_output=True,
        near_identity=True,
        intermediate_weight=0.5,
        clip=0.1,
        compile=False,
    ),
)


class Scaled(NamedTuple):
    """An image and its first estimate on the network's scale, and the seconds that the estimate took."""

    image: Image
    estimate: Image
    seconds: float


class ImageSpecimen(EstimateSpecimen):
    """A specimen with its image in place of its estimate, on the same scale."""

    def __init__(self, specimen: EstimateSpecimen) -> None:
        vars(self).update(vars(specimen))
        self._specimen, self._made = specimen, {}

    def _estimated(self, plane: int) -> tuple[Image, Image, float]:
        made = self._specimen._made
        if plane not in made:
            made[plane] = self._specimen._estimated(plane)
        _, truth, divisor = made[plane]
        # Level and scale do not depend on the number of iterations, so the fewest will do.
        return scaled(self._image, self._psf, effort=0.01).image, truth, divisor


def scaled(image: Image, psf: Image, effort: float = 1.0) -> Scaled:
    """Put an image and its first estimate on the network's scale."""
    began = time.perf_counter()
    found = first_estimate(image, psf, effort=effort)
    seconds = time.perf_counter() - began
    values = [
        np.asarray((array - found.level) / found.scale + NORMALIZATION.pedestal, np.float32)
        for array in (image, found.estimate)
    ]
    return Scaled(values[0], values[1], seconds)


def microscope() -> tuple[KnownMicroscope, Image]:
    """Return the trained microscope and its PSF, as wide as the field needs."""
    lateral = LATERAL * EMISSION_UM / APERTURE
    axial = AXIAL * EMISSION_UM / (INDEX - math.sqrt(INDEX**2 - APERTURE**2))
    optics = nl.Microscope(
        "widefield", numerical_aperture=APERTURE, refractive_index=INDEX, emission_um=EMISSION_UM
    )
    psf = np.asarray(optics.psf((axial, lateral, lateral), (33, 81, 81)), np.float32)
    return KnownMicroscope(psf / psf.sum(), anisotropy=axial / lateral), psf / psf.sum()


def trained(config: TrainingConfig, make: MakeSpecimen, name: str) -> LUCYD:
    """Train a network on specimens; return it with the averaged weights."""
    trainer = Trainer(config, torch.device("cpu"), make_specimen=make)
    patches = Patches(config, make_specimen=make)
    size = config.schedule.batch_size
    for step in range(config.schedule.steps):
        members = [patches[number] for number in range(step * size, (step + 1) * size)]
        trainer.train_on(Patch(*(torch.stack(tensors) for tensors in zip(*members, strict=True))))
    found = trainer.validate()
    print(f"{name}: validation {found.psnr:.2f} dB, {found.health}", flush=True)
    network = trainer.averaged.module
    assert isinstance(network, LUCYD)
    return network.eval()


def restored(network: LUCYD, image: Image) -> tuple[Image, float]:
    """Return the network's output for a scaled image, and the seconds that it took."""
    began = time.perf_counter()
    with torch.no_grad():
        output = network(torch.from_numpy(np.ascontiguousarray(image))[None, None]).output[0, 0].numpy()
    return output, time.perf_counter() - began


def specimens(known: KnownMicroscope, psf: Image) -> Iterator[tuple[str, Image, Image, Image]]:
    """Yield name, image, truth and PSF of specimens that were not trained on."""
    field = CONFIG.data.phantom_shape
    around = tuple(n + k - 1 for n, k in zip(field, psf.shape, strict=True))
    for kind in KINDS:
        for seed in SEEDS:
            sharp = nl.make_structures(kind, around, rng=seed, anisotropy=known.anisotropy).image
            for photons in PHOTONS:
                sample = acquire(
                    sharp, psf, photons_per_unit=photons / 1000, read_noise=2, rng=seed, field_shape=field
                )
                yield kind, sample.image, sample.truth, psf


def main() -> None:
    """Train both networks and print the gains over the image."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--patches", type=int, default=CONFIG.schedule.patches)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    config = replace(CONFIG, schedule=replace(CONFIG.schedule, patches=options.patches))
    known, psf = microscope()

    @cache
    def specimen(seed: int) -> EstimateSpecimen:
        return EstimateSpecimen(config.data, config.normalization, seed, known)

    direct = trained(config, lambda seed: ImageSpecimen(specimen(seed)), "straight on the image")
    on_estimates = trained(config, specimen, "on first estimates")

    groups: dict[str, list[list[float]]] = {}
    cases = list(specimens(known, psf))
    if options.data:
        cases += [("nuclei", case.image, case.truth, case.psf) for case in widefield(options.data)]
    for name, image, truth, its_psf in cases:
        both = scaled(image, its_psf)
        straight, straight_seconds = restored(direct, both.image)
        after, after_seconds = restored(on_estimates, both.estimate)
        before = psnr(image, truth)
        groups.setdefault(name, []).append(
            [
                before,
                *(psnr(output, truth) - before for output in (both.estimate, straight, after)),
                straight_seconds / (both.seconds + after_seconds),
            ]
        )
    print("| images | PSNR | first estimate | straight on the image | on the estimate | time, relative |")
    print(f"|{'---|' * 6}")
    for name, rows in groups.items():
        before, *gains, ratio = np.mean(rows, 0)
        print(f"| {name} | {before:.2f} | {' | '.join(f'{gain:+.2f}' for gain in gains)} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
