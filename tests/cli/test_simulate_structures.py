"""``lucyd simulate --structures``: specimens of structures, degraded or as a surrogate images them."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from typer.testing import CliRunner

import napari_lucyd as nl
from napari_lucyd.cli import app
from napari_lucyd.cli.shared.option_types import Structures
from napari_lucyd.io import read_image
from napari_lucyd.simulation import repeat_simulation
from napari_lucyd.simulation.structures import StructureKind


def simulate(folder, *options):
    arguments = ["simulate", "-o", folder, "--shape", "20,32,28", "--seed", "3", *options]
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return (read_image(folder / f"{name}.ome.tif") for name in ("degraded", "truth"))


@pytest.mark.parametrize("kind", ["mixture", "filaments"])
def test_structures_are_degraded_and_made_again_by_their_record(tmp_path, kind):
    degraded, truth = simulate(
        tmp_path, "--structures", kind, "--blur-sigma", "2,1.5,1.5", "--noise-sigma", "0.02", "--photometric"
    )
    record = degraded.metadata["simulation"]
    assert record["phantom"]["kind"] == kind and record["phantom"]["blur_sigma"] == [2, 1.5, 1.5]
    again = repeat_simulation(record)
    np.testing.assert_array_equal(degraded.data, again.image)
    np.testing.assert_array_equal(truth.data, again.truth)
    # The thin structures are still visible in the noise after the blur.
    assert record["noise_reference"] == "image"
    quiet = nl.degrade(truth.data, blur_sigma=(2, 1.5, 1.5), noise_sigma=0, photometric=True).image
    assert (degraded.data - quiet).std() == pytest.approx(0.02 * np.ptp(quiet), rel=0.05)


def test_a_surrogate_images_structures_on_its_own_voxels(tmp_path):
    degraded, truth = simulate(
        tmp_path, "--structures", "bodies", "--surrogate", "nuclei", "--voxel-size", "0.6,0.3,0.3"
    )
    specimen = nl.make_structures("bodies", (20, 32, 28), rng=3, background=30, anisotropy=2)
    np.testing.assert_array_equal(truth.data, specimen.image)
    expected = nl.make_surrogate(specimen, voxel_size=(0.6, 0.3, 0.3), rng=3)
    np.testing.assert_array_equal(degraded.data, expected.image)


def test_every_kind_of_structures_is_a_choice():
    # Without the option, a "phantom" is drawn.
    assert {choice.value for choice in Structures} == set(get_args(StructureKind)) - {"phantom"}
