"""The tables on structures and on real images: fair images, with the blur told and not told, every method
once.
"""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from scipy import ndimage
from typer.testing import CliRunner

from napari_lucyd.cli import app
from napari_lucyd.evaluation import (
    Trained,
    evaluate,
    load_competitor,
    measure_real,
    psnr,
    psnr_affine,
    real_images,
    structures_protocol,
)
from napari_lucyd.evaluation.protocols import TUNING_SEED
from napari_lucyd.evaluation.structures_protocol import CLASSES
from napari_lucyd.simulation.structures import CONTRAST
from told_models import blobs, told_model


@pytest.fixture
def pairs(tmp_path):
    """A folder with a pair whose image is the blurred truth in other units, and a sharp stack."""
    truth = blobs(48, 48, level=0)
    image = (3 * ndimage.gaussian_filter(truth, 1.2) + 100).astype(np.float32)
    image += np.random.default_rng(0).normal(0, 0.03 * np.ptp(image), image.shape).astype(np.float32)
    tifffile.imwrite(tmp_path / "actin_wf.tif", image)
    tifffile.imwrite(tmp_path / "actin_sim.tif", truth)
    tifffile.imwrite(tmp_path / "nuclei_sharp.tif", blobs(12, 24, 24))
    tifffile.imwrite(tmp_path / "alone_wf.tif", image)
    return tmp_path


def test_psnr_after_an_affine_map_does_not_see_units():
    truth = np.random.default_rng(0).random((16, 16))
    noisy = truth + 0.1 * np.random.default_rng(1).normal(size=truth.shape)
    assert psnr_affine(5 * noisy + 40, truth) == pytest.approx(psnr_affine(noisy, truth))
    assert psnr_affine(noisy, truth) >= psnr(noisy, truth)
    assert psnr_affine(np.ones(4), [0.0, 1.0, 2.0, 3.0]) < 10
    with pytest.raises(ValueError, match="truth is constant"):
        psnr_affine([1.0, 2.0], [3.0, 3.0])


@pytest.mark.parametrize("dimension", [2, 3])
def test_structures_have_light_from_outside_and_the_psf_that_made_them(dimension):
    protocol = structures_protocol(dimension)
    assert len(protocol.columns) == 16 and "widefield, fine, low light" in protocol.columns
    column = protocol.columns.index("gaussian, fine, good light")
    (sample,) = protocol.samples(column, 101)
    (again,) = protocol.samples(column, 101)
    assert np.array_equal(sample.image, again.image)
    assert sample.image.shape == sample.truth.shape == (32, 64, 64)[-dimension:]
    assert sample.psf.ndim == dimension and sample.psf.sum() == pytest.approx(1, rel=1e-4)
    if dimension == 3:
        inner = (slice(12, -12),) * 3
        expected = ndimage.convolve(sample.truth, sample.psf[16:-16, 32:-32, 32:-32], mode="nearest")
        error = np.abs(expected - sample.image)[inner].mean() / np.ptp(sample.image)
        assert error < 0.02


@pytest.mark.parametrize("dimension", [2, 3])
def test_every_field_of_structures_holds_structure_of_its_class(dimension):
    protocol = structures_protocol(dimension)
    # The field of this seed contains none of its tubules.
    (sample,) = protocol.samples(0, 104)
    assert np.ptp(sample.truth) >= CONTRAST
    (same_class,) = protocol.samples(0, 104 + len(CLASSES))
    assert np.array_equal(sample.truth, same_class.truth)


def test_planes_are_measured_up_to_scale_and_offset_since_their_haze_is_unknown():
    table = structures_protocol(2).restricted("one", ["widefield, fine, good light"])
    (sample,) = table.samples(0, 101)
    shifted = 2 * sample.truth + 100
    assert table.psnr(shifted, sample.truth) > 100
    assert structures_protocol(3).psnr(shifted, sample.truth) < 40
    measured = evaluate(table, [], seeds=[101]).row("input")[0].psnr
    assert measured == pytest.approx(psnr_affine(sample.image, sample.truth), abs=1e-3)


def test_numbers_of_classical_methods_are_chosen_on_planes_of_every_class_with_structure():
    samples = structures_protocol(2).samples(0, TUNING_SEED)
    assert len(samples) == len(CLASSES)
    assert all(np.ptp(sample.truth) >= CONTRAST for sample in samples)


def test_a_model_is_told_the_true_psf_unless_its_name_says_untold(monkeypatch):
    given = []
    monkeypatch.setattr(
        "napari_lucyd.evaluation.compared_methods._output",
        lambda image, model, **options: given.append(options) or image,
    )
    (sample,) = structures_protocol(2).samples(0, 100)
    told, untold = load_competitor("lucyd-planes"), load_competitor("untold:lucyd-planes")
    assert (told.name, untold.name) == ("lucyd-planes", "untold:lucyd-planes")
    for entry in (told, untold, load_competitor("planes")):
        entry.restore(sample, bare=False)
    assert given[0]["psf"] is sample.psf and given[1:] == [{}, {}]
    with pytest.raises(ValueError, match="planes does not use the blur"):
        load_competitor("untold:planes")
    assert Trained(told_model(2)).blur(sample)["psf"] is sample.psf


def test_real_images_are_pairs_by_their_names_and_sharp_stacks(pairs, monkeypatch):
    monkeypatch.setattr(real_images, "TEXTURES", real_images.TEXTURES[:1])
    monkeypatch.setattr(real_images, "OBJECTIVES", ())
    done = []
    table = measure_real(
        pairs, ["richardson-lucy", "planes"], blur_sigma=1.2, progress=lambda *n: done.append(n)
    )
    assert done == [(1, 2), (2, 2)] and table.methods == ["richardson-lucy", "planes"]
    pair, _, texture, missing = table.gains
    assert (pair.image, pair.group) == ("actin", "pairs, 2D") and pair.gain > 1
    assert texture.image.startswith("nuclei, blur 1.5") and texture.setting.startswith("num_iter=")
    assert missing.gain is None and table.mean(missing.group, "planes") is None
    text = table.markdown()
    assert "| actin |" in text and "| – |" in text and "| **mean** |" in text


def test_iterations_go_beyond_the_best_number(pairs):
    case = next(real_images._find(pairs, 1.2))()
    _, setting = real_images._richardson_lucy(case.sample)
    number = int(setting.removeprefix("num_iter="))
    assert number > 3 and number < max(real_images._ITERATIONS)


def lucyd(*arguments: object):
    return CliRunner().invoke(app, ["evaluate", *(str(argument) for argument in arguments)])


def test_command_writes_the_table_of_real_images(pairs, tmp_path):
    (pairs / "nuclei_sharp.tif").unlink()
    done = lucyd("real", pairs, "--methods", "richardson-lucy", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "| actin |" in done.output and (tmp_path / "out" / "real.json").is_file()


def test_command_explains_what_does_not_fit(tmp_path):
    assert "real needs a folder of images" in lucyd("real").output
    assert "no other table takes a PATH" in lucyd("open", tmp_path).output
    assert "holds no pairs" in lucyd("real", tmp_path).output
    assert "is for the tables real and plant" in lucyd("open", "--blur-sigma", "1").output
    assert "leave out --seeds" in lucyd("real", tmp_path, "--record").output
