"""The report: one page without other files, JSON, and a paragraph from the recipe."""

import json
import re
from dataclasses import fields
from html.parser import HTMLParser

import numpy as np
import pytest

import napari_lucyd as nl
from napari_lucyd.io import ImageFileError
from napari_lucyd.psf.gaussian import gaussian_psf
from napari_lucyd.referee import methods_paragraph
from napari_lucyd.text import percent_text


@pytest.fixture(scope="module")
def run():
    from scipy.ndimage import gaussian_filter

    truth = nl.make_structures("filaments", (12, 48, 48), rng=3, background=60, contrast=200).image
    image = np.random.default_rng(0).poisson(gaussian_filter(truth, 1.5)).astype(np.uint16)
    psf = gaussian_psf((1.5,) * 3)
    return image, nl.deconvolve(image, nl.RichardsonLucy(psf, num_iter=8), voxel_size=(0.2, 0.1, 0.1))


def test_a_report_is_one_page_and_json(run, tmp_path):
    image, result = run
    made = nl.report(image, result, title="A <b> title", device="cpu")
    page, data = made.save(tmp_path / "report.html")
    text = page.read_text("utf-8")
    parser = HTMLParser()
    parser.feed(text)
    assert "A &lt;b&gt; title" in text
    assert text.count("data:image/png;base64,") == 2
    assert "<svg" in text
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    read = json.loads(data.read_text("utf-8"))
    assert read["score"]["held_out"] == made.score.held_out
    assert read["methods"] == made.methods
    assert made.methods in text.replace("&#x27;", "'").replace("&quot;", '"')
    with pytest.raises(ImageFileError):
        made.save(tmp_path / "report.html")
    made.save(tmp_path / "report.html", overwrite=True)
    with pytest.raises(ValueError, match=r"ends in \.html"):
        made.save(tmp_path / "report.txt")
    with pytest.raises(TypeError, match="result of deconvolve"):
        nl.report(image, "lucyd")


def test_the_paragraph_counts_a_single_iteration_in_the_singular():
    image = np.eye(16)
    method = nl.RichardsonLucy(np.ones((3, 3)), num_iter=1)
    recipe = nl.deconvolve(image, method, prefilter=1, device="cpu").recipe
    text = methods_paragraph(recipe)
    assert "with 1 iteration, accelerated" in text and "by a Gaussian of 1 voxel." in text
    recipe["method"]["num_iter"], recipe["method"]["iterations"] = "auto", [1, 8]
    assert "with 1, 8 iterations" in methods_paragraph(recipe)


def test_the_paragraph_has_no_names_of_the_program():
    optics = {
        "modality": "light-sheet",
        "numerical_aperture": 1.1,
        "refractive_index": 1.333,
        "emission_um": 0.525,
        "excitation_um": 0.488,
        "pinhole_airy": 1.2,
        "sheet_fwhm_um": 3.5,
        "sample_index": 1.38,
        "depth_um": 20.0,
        "psf_size": [63, 31, 31],
    }
    assert set(optics) == {field.name for field in fields(nl.Microscope)}
    words = (
        "light-sheet, NA 1.1, refractive index 1.333, emission 0.525 µm, excitation 0.488 µm, pinhole "
        "1.2 Airy, light sheet 3.5 µm thick (FWHM), refractive index 1.38 of the specimen, depth 20 µm, "
        "63 × 31 × 31 voxels"
    )
    image = np.random.default_rng(0).poisson(50, (40, 40)).astype(np.float32)
    network = nl.deconvolve(image, "lucyd", blur_sigma=1.2, subtract_background=20, device="cpu").recipe
    network["first_stage"] = {"microscope": optics}
    method = nl.RichardsonLucy(np.ones((3, 3)), num_iter=2, local_stopping=True)
    classical = nl.deconvolve(image, method, subtract_background="auto", device="cpu").recipe
    # The window records the optics of its PSF, with one wavelength for each channel.
    record = {"kind": "light_sheet", "numerical_aperture": 1.1, "emission_um": [0.46, 0.525]}
    classical["psf"]["origin"] = {"optics": record}
    blind = {**classical, "psf": None}
    blind["method"] = {"name": "semi-blind", "num_iter": 3, "microscope": optics, "width_found": [[1.05]]}
    texts = [methods_paragraph(recipe) for recipe in (network, classical, blind)]
    assert f"microscope ({words})" in texts[0] and f"microscope ({words})" in texts[2]
    assert "computed for light sheet, NA 1.1, emission 0.46, 0.525 µm)" in texts[1]
    assert "voxel by voxel" in texts[1] and "box of 20 × 20 voxels" in texts[0]
    for text in texts:
        assert not re.search(r"[a-z]_[a-z]|\bum\b|\bauto\b|None|True|[\[{]", text)


def test_the_paragraph_states_settings_versions_and_citations(run):
    _, result = run
    text = methods_paragraph(json.loads(json.dumps(result.recipe)))
    for part in ("napari-lucyd", "8 iterations", "Python 3", "NumPy", "0.2 × 0.1 × 0.1", "Richardson"):
        assert part in text
    image = np.random.default_rng(0).poisson(50, (40, 40)).astype(np.float32)
    told = nl.deconvolve(image, "lucyd", blur_sigma=1.2, device="cpu")
    text = methods_paragraph(told.recipe)
    assert "lucyd-planes" in text
    assert "1.2 × 1.2 voxels" in text
    assert "10.1007/978-3-031-43993-3_63" in text
    assert "weighted by" not in text
    bright = np.random.default_rng(0).poisson(20_000 * np.eye(40) + 50, (8, 40, 40)).astype(np.float32)
    recipe = nl.deconvolve(bright, "lucyd", blur_sigma=1.2, device="cpu").recipe
    (noise,) = recipe["first_stage"]["noise"]
    text = methods_paragraph(recipe)
    assert re.search(r"mask and update term weighted by 0\.3\d? for a noise of \S+ % of the brightness", text)
    assert f"noise of {percent_text(noise)} of the brightness" in text
    with pytest.raises(ValueError, match="not the recipe"):
        methods_paragraph({})
    for steps, known in (((1.0, 1.0, 1.0), False), ((0.3, 0.1, 0.1), True)):
        text = methods_paragraph({**json.loads(json.dumps(result.recipe)), "voxel_size": steps})
        assert ("The voxel size was" in text) == known
