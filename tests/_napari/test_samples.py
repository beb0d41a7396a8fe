"""The samples: quick, placed in the world, and carrying the parameters that made them."""

import json
import time

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.layers import Image

from napari_lucyd._napari import samples
from napari_lucyd._napari.layers.viewer import METADATA_KEY
from napari_lucyd.simulation import degrade, make_phantom, make_surrogate, repeat_simulation

SURROGATES = [samples.nuclei, samples.membranes, samples.light_sheet]
STRUCTURES = [samples.filaments, samples.puncta, samples.cells, samples.tubules]
SAMPLES = [
    samples.phantom,
    samples.unseen,
    samples.sharp,
    samples.anisotropic,
    samples.plane,
    *SURROGATES,
    *STRUCTURES,
]


def parameters(entry):
    return entry[1]["metadata"][METADATA_KEY]["simulation"]


@pytest.mark.parametrize("sample", SAMPLES)
def test_samples_are_layers_with_scale_units_and_parameters(sample):
    for data, keywords, kind in sample():
        layer = Image(data, **keywords)
        assert kind == "image"
        assert data.dtype == np.float32
        assert np.isfinite(data).all()
        assert {str(unit) for unit in layer.units} == {"micrometer"}
        assert layer.axis_labels == tuple("zyx"[-data.ndim :])
        assert min(layer.scale) == pytest.approx(
            0.1625 if sample in SURROGATES else 0.16 if sample is samples.cells else 0.1
        )
        assert json.loads(json.dumps(parameters((data, keywords, kind))))


@pytest.mark.parametrize("sample", SAMPLES)
def test_samples_are_quick(sample):
    # They run on the window's thread; the best of three counts, because other work may use the processors.
    def seconds():
        begin = time.process_time()
        sample()
        return time.process_time() - begin

    # Samples with optics need a PSF, surrogates one of 127 planes. Opening a file takes a second or two as
    # well.
    assert min(seconds() for _ in range(3)) < (2 if sample in (*SURROGATES, *STRUCTURES) else 1)


@pytest.mark.parametrize(
    ("sample", "blur", "noise"), [(samples.phantom, 1.2, 15 / 255), (samples.unseen, 2.0, 50 / 255)]
)
def test_pairs_are_the_protocols_degradation(sample, blur, noise):
    truth, image = sample()
    made = parameters(image)
    assert made["blur_sigma"] == [blur] * 3
    assert made["noise_sigma"] == pytest.approx(noise)
    again = degrade(make_phantom(**made["phantom"]), blur_sigma=blur, noise_sigma=noise, rng=made["rng"])
    np.testing.assert_allclose(image[0], samples.COUNTS * again.image, rtol=1e-6)
    np.testing.assert_allclose(truth[0], samples.COUNTS * again.truth, rtol=1e-6)
    assert not truth[1]["visible"]


@pytest.mark.parametrize("sample", SURROGATES)
def test_surrogates_are_the_public_ones_with_truth_in_the_same_units(sample):
    truth, image = sample()
    made = parameters(image)
    assert made == parameters(truth)
    assert made["surrogate"] == sample.__name__
    again = make_surrogate(make_phantom(**made["phantom"]), made["surrogate"], rng=made["rng"])
    np.testing.assert_array_equal(image[0], again.image)
    np.testing.assert_array_equal(truth[0], again.truth)
    assert "surrogate" in image[1]["name"] and truth[1]["name"] == f"{image[1]['name']} truth"
    assert image[1]["visible"] and not truth[1]["visible"]
    # Haze leaves the volume at its top and bottom; no light is made.
    assert 0.5 * truth[0].sum() < image[0].sum() < 1.01 * truth[0].sum()


@pytest.mark.parametrize("sample", [samples.unseen, samples.anisotropic, samples.plane, *STRUCTURES])
def test_recipes_make_the_samples_again(sample):
    truth, image = sample()
    again = repeat_simulation(json.loads(json.dumps(parameters(image))))
    np.testing.assert_array_equal(image[0], again.image)
    np.testing.assert_array_equal(truth[0], again.truth)


@pytest.mark.parametrize("sample", STRUCTURES)
def test_structures_stand_out_of_their_background_and_noise(sample):
    truth, image = sample()
    assert image[0].shape == truth[0].shape and image[0].ndim == (2 if sample is samples.tubules else 3)
    assert not truth[1]["visible"] and truth[1]["name"] == f"{image[1]['name']} truth"
    low, high = np.percentile(image[0], (1, 99.9))
    assert high - low > 500  # the noise is about 20 there
    made = parameters(image)
    assert made["phantom"]["shape"] != made["field_shape"]


def test_sharp_is_alone():
    (only,) = samples.sharp()
    np.testing.assert_array_equal(only[0], make_phantom(**parameters(only)).image)


def test_anisotropic_planes_are_three_pixels_apart():
    truth, image = samples.anisotropic()
    assert truth[0].shape == image[0].shape
    np.testing.assert_allclose(image[1]["scale"], (0.3, 0.1, 0.1))
    blur = parameters(image)["blur_sigma"]
    assert blur[0] > blur[1] == blur[2]


def test_plane_is_two_dimensional():
    assert [entry[0].ndim for entry in samples.plane()] == [2, 2]


@pytest.fixture
def not_yet_downloaded(monkeypatch, tmp_path):
    """An empty folder for scikit-image's files."""
    from skimage import data

    monkeypatch.setattr(data, "data_dir", str(tmp_path), raising=False)
    return tmp_path


def test_the_real_cells_have_two_channels_and_their_voxel_size(monkeypatch, not_yet_downloaded):
    from skimage import data

    image = np.arange(2 * 3 * 4 * 5, dtype=np.uint16).reshape(3, 2, 4, 5)
    asked = []
    monkeypatch.setattr(samples, "download", lambda *given: asked.append(given))
    monkeypatch.setattr(data, "cells3d", lambda: image)
    layers = [Image(values, **keywords) for values, keywords, _ in samples.cells3d()]
    assert [layer.name for layer in layers] == ["membranes · cells3d", "nuclei · cells3d"]
    np.testing.assert_array_equal(layers[1].data, image[:, 1])
    assert tuple(layers[0].scale) == (0.29, 0.26, 0.26)
    assert {str(unit) for unit in layers[0].units} == {"micrometer"}
    ((url, known_hash, path, _),) = asked
    assert path == not_yet_downloaded / "cells3d.tif"
    # The same file as scikit-image's own.
    registry = pytest.importorskip("skimage.data._registry")
    assert registry.registry["data/cells3d.tif"] == known_hash
    assert registry.registry_urls["data/cells3d.tif"] == url
    path.touch()
    samples.cells3d()
    assert len(asked) == 1


def test_real_cells_that_cannot_be_downloaded_are_told_of_in_words(monkeypatch, not_yet_downloaded):
    def offline(*_):
        raise OSError("no route to host")

    monkeypatch.setattr(samples, "download", offline)
    with pytest.raises(ConnectionError, match="Check the internet connection") as told:
        samples.cells3d()
    # A notification shows only its first words.
    assert str(told.value).startswith("The download of the sample failed.")
    assert "no route to host" in str(told.value)


def test_a_download_that_is_cancelled_is_no_error_and_adds_no_layer(
    make_napari_viewer, monkeypatch, not_yet_downloaded
):
    from napari.utils import notifications

    def cancelled(*_):
        raise InterruptedError("The download of the sample was cancelled.")

    shown = []
    monkeypatch.setattr(samples, "download", cancelled)
    monkeypatch.setattr(notifications, "show_info", shown.append)
    viewer = make_napari_viewer()
    assert viewer.open_sample("napari-lucyd", "cells3d") == [] and len(viewer.layers) == 0
    assert shown == ["The download of the sample was cancelled."]
