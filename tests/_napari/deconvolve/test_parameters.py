"""The panel's choices, and the arguments that they become."""

import inspect
from dataclasses import fields

import pytest

from napari_lucyd._napari.deconvolve.choices.method import read_count
from napari_lucyd._napari.deconvolve.choices.network_model import model_text
from napari_lucyd._napari.deconvolve.parameters import Parameters, default_model
from napari_lucyd._napari.widgets.fields import (
    label,
    parse_axes,
    parse_halo,
    parse_number,
    parse_sizes,
    parse_step,
    parse_steps,
    parse_tile,
    parse_wavelengths,
    tooltip,
)
from napari_lucyd.text import bytes_text, duration_text


def test_options_are_arguments_of_plan():
    from napari_lucyd.deconvolution import plan

    options = Parameters().options((0.3, 0.1, 0.1), "ZYX", None)
    known = set(inspect.signature(plan).parameters)
    assert set(options) <= known
    # Arguments without a control in the panel: the input, arguments only for code, and one not yet tried on a
    # GPU.
    code = {"statistics", "allocate", "processes"}
    # Keywords of the Microscope section are added in the worker, where a PSF may be read.
    told = {"microscope", "psf", "psf_voxel_size", "blur_sigma"}
    assert known - set(options) == {"volume", "model", "precision", *code, *told}


def test_defaults_are_those_of_the_engine():
    from napari_lucyd.deconvolution import plan
    from napari_lucyd.deconvolution.api import DEFAULT_OUTPUTS

    options = Parameters().options(None, None, None)
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(plan).parameters.items()
        if name in options
    }
    # None asks for the default parts of the method: these three for a network.
    assert defaults.pop("outputs") is None
    assert options.pop("outputs") == DEFAULT_OUTPUTS
    assert options == defaults


def test_the_users_axes_come_before_the_layers():
    assert Parameters(axes="CZYX").options(None, "TZYX", None)["axes"] == "CZYX"
    assert Parameters().options(None, "TZYX", None)["axes"] == "TZYX"


@pytest.mark.parametrize("name", [field.name for field in fields(Parameters)])
def test_every_choice_has_a_label_and_a_tooltip(name):
    assert label(Parameters, name)
    assert len(tooltip(Parameters, name)) > 20


@pytest.mark.parametrize(
    ("text", "axes"),
    [("zyx", "ZYX"), (" Z, Y, X ", "ZYX"), ("z × y × x", "ZYX"), ("", None), ("  ", None), ("yxp", "YXP")],
)
def test_axes_line_is_read_as_people_write_it(text, axes):
    assert parse_axes(text, 3) == axes


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("SYX", "S stands for the colours"),
        ("1YX", "enter letters only, without 1: T for time"),
        ("YYX", "twice"),
        ("TZYX", "has 3 axes"),
        ("YTZ", "lacks Y or X"),
    ],
)
def test_wrong_axes_are_refused_in_words(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        parse_axes(text, 3)


@pytest.mark.parametrize(
    ("text", "tile"),
    [("", None), ("Automatic", None), ("64", (64,)), ("64, 128 128", (64, 128, 128)), ("8x9x10", (8, 9, 10))],
)
def test_tile_line(text, tile):
    assert parse_tile(text) == tile


@pytest.mark.parametrize("text", ["a", "64, 0, 64", "-3", "1.5"])
def test_wrong_tiles_are_refused(text):
    with pytest.raises(ValueError, match="is not a size"):
        parse_tile(text)


def test_a_classical_method_is_told_nothing_of_networks():
    choices = Parameters(method="wiener", tile_shape=(8,), halo=2, normalization="minmax", balance=0.4)
    assert choices.classical and not Parameters().classical
    options = choices.options((0.3, 0.1, 0.1), "ZYX", None)
    steps = {"subtract_background", "prefilter"}
    assert set(options) == {"device", "voxel_size", "outputs", "axes", "region"} | steps
    assert options["outputs"] == ("output",)
    assert choices.numbers["balance"] == 0.4


def test_the_lines_of_a_psf():
    assert parse_steps("0.3; 0.1 x 0.1") == (0.3, 0.1, 0.1)
    assert parse_steps("") is None
    assert parse_sizes("PSF size", "63, 31") == (63, 31)
    assert parse_number("NA", " 1,4") == 1.4
    assert parse_number("NA", " ") is None
    for read in (parse_steps, lambda text: parse_number("NA", text), lambda text: parse_sizes("NA", text)):
        with pytest.raises(ValueError, match="'much' is not a"):
            read("much")


def test_an_entry_that_is_refused_is_quoted_as_it_was_typed():
    entry = "/Data/My Image"
    lines = {
        "Iterations": lambda text: read_count("num_iter", text),
        "Prefilter": lambda text: parse_step("Prefilter", text),
        "Halo": parse_halo,
        "Tile": parse_tile,
        "Voxel size": parse_steps,
        "Emission": lambda text: parse_wavelengths("Emission", text),
    }
    for name, read in lines.items():
        with pytest.raises(ValueError, match=f"^{name}: .{entry}. is not a"):
            read(entry)
    with pytest.raises(ValueError, match="'0,5 NM' is not a number"):
        parse_wavelengths("Emission", "0,5 NM")
    assert parse_sizes("PSF size", "63 X 31") == (63, 31)


def test_the_line_of_an_optional_step():
    assert [parse_step("Prefilter", text) for text in ("", "off", " Auto ", "1,2")] == [
        None,
        None,
        "auto",
        1.2,
    ]
    with pytest.raises(ValueError, match="Prefilter: 'much' is not a number"):
        parse_step("Prefilter", "much")


def test_a_mean_over_flips_has_an_output_alone():
    assert Parameters(flips=True).parts == ("output",)


def test_halo_line():
    assert parse_halo("") is None
    assert parse_halo(" 12 ") == 12
    with pytest.raises(ValueError, match="is not a whole number"):
        parse_halo("-1")


def test_default_model_fits_the_image(monkeypatch):
    cards = [
        {"name": "general", "network": {"dimension": 3}},
        {"name": "mixture", "network": {"dimension": 3}},
        {"name": "planes", "network": {"dimension": 2}},
    ]
    monkeypatch.setattr("napari_lucyd._napari.deconvolve.parameters.list_models", lambda: cards)
    assert default_model(2) == "planes"
    assert default_model(3) == default_model(5) == "general"


def test_numbers_in_words():
    assert [bytes_text(n) for n in (2e3, 5.5e6, 2.34e9, 64e9)] == ["2 kB", "5.5 MB", "2.3 GB", "64 GB"]
    assert [duration_text(s) for s in (0.2, 59.4, 60, 95, 700, 3599, 7000)] == [
        "under a second",
        "59 s",
        "1 min",
        "1 min 35 s",
        "12 min",
        "1 h",
        "1 h 57 min",
    ]


def test_model_text_says_what_a_model_was_trained_for():
    card = {"title": "A model", "blur_sigma_voxels": [0.3, 2.5], "noise_sigma": [0, 0.47]}
    text = model_text({**card, "flux_kept": False})
    assert "A model." in text
    assert "0.3 to 2.5 voxels" in text
    assert "47 %" in text
    assert "Changes total intensity" in text
    assert "Changes total intensity" not in model_text({**card, "flux_kept": True})
    assert model_text({"description": "Imported."}) == "Imported."
    assert model_text({}) == ""
