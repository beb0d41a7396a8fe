"""Messages of the core, when they reach the window: no option of the command line, no argument of Python."""

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

import napari_lucyd
from napari_lucyd._napari.deconvolve.parameters import Parameters
from napari_lucyd._napari.phantom.parameters import PhantomParameters
from napari_lucyd._napari.psf.beads import BeadsPsf
from napari_lucyd._napari.psf.optics import OpticsPsf
from napari_lucyd._napari.workers import window_words
from napari_lucyd._napari.workers.events import explain
from napari_lucyd._napari.workers.window_words import in_window_words
from napari_lucyd.deconvolution import plan
from napari_lucyd.text import group_messages

INTERVAL = "Give the microscope, the PSF or the width of the blur (blur_sigma)."
ROOMS = ("deconvolution", "referee", "photons", "psf", "models", "inference", "io")


def texts(tree):
    """Yield the texts of errors and warnings, with X in place of what is filled in."""
    filled = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    parts = {id(part) for node in filled for part in ast.walk(node)}
    for node in filled:
        yield "".join(part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value


def test_the_width_of_the_blur_is_named_as_in_the_window():
    assert in_window_words(INTERVAL) == "Give the microscope, the PSF or the Blur width."


def test_messages_name_the_labels_that_are_seen():
    labels = {}
    for parameters in (PhantomParameters, BeadsPsf, OpticsPsf, Parameters):
        labels |= {each.name: each.metadata["label"] for each in fields(parameters) if each.metadata}
    for name, word in window_words._LABELS.items():
        argument = name.split()[0]
        if argument in labels and argument != "voxel_size":
            assert word == name.replace(argument, labels[argument])
    # Each number of the optics may be named by a message of the simulation.
    assert {each.name for each in fields(OpticsPsf)} - set(window_words._LABELS) == {"kind", "shape"}


def test_no_message_of_the_core_names_an_option_of_the_command_line_in_the_window():
    found = 0
    for part in ROOMS:
        for path in sorted((Path(napari_lucyd.__file__).parent / part).rglob("*.py")):
            for text in texts(ast.parse(path.read_text("utf-8"))):
                if re.search(r"[(,:] ?--[a-z]", text):
                    found += 1
                    assert not re.search(r"--[a-z]|\w='", in_window_words(text)), text
    assert found >= 6


@pytest.mark.parametrize(
    "file",
    [
        "deconvolution/image/axes.py",
        "deconvolution/tiling/resampling.py",
        "deconvolution/classical/methods.py",
        "deconvolution/classical/semi_blind.py",
        "deconvolution/classical/job.py",
        "deconvolution/first_stage/blur.py",
        "photons/noise_model.py",
        "psf/beads.py",
        "psf/cleaning.py",
        "referee/maps/interval.py",
        "referee/maps/trust_map.py",
        "referee/scores/judged.py",
        "referee/plant.py",
    ],
)
def test_errors_that_the_window_shows_name_no_argument(file):
    tree = ast.parse((Path(napari_lucyd.__file__).parent / file).read_text("utf-8"))
    raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc is not None]
    for text in (text for error in raised for text in texts(error) if " " in text):
        # Types of arguments and unknown names are errors of code.
        if re.match(r"(microscope|result|outputs|volume|X) (is|names|has) X", text) or "both" in text:
            continue
        words = in_window_words(text)
        assert not re.search(r"\b[a-z]+_[a-z_]+\b|\w=[\'(T]|\bargument|\b[Pp]ass one", words), words


@pytest.mark.parametrize(
    ("shape", "choices", "said"),
    [
        (
            (1, 2, 2, 4, 9, 9),
            {},
            "Name each under Axes with a letter: T time, C channel, Z, Y, X; any other letter for further "
            "axes, as PTCZYX.",
        ),
        ((4, 9, 3), {"dtype": "uint8"}, "name its axes under Axes, e.g. ZYX."),
        ((4, 9, 9), {"axes": "ZYZ"}, "Axes: ZYZ is invalid"),
        ((4, 9, 9), {"isotropic": True}, "Isotropic needs the voxel size. Enter it under Image."),
        ((4, 9, 9), {"flips": True, "outputs": ("output", "update_term")}, "Mean over flips has no other"),
        ((4, 9, 9), {"tile_shape": (0, 1, 2)}, "Tile is 0; give an integer of at least 1."),
        ((4, 9, 9), {"halo": -3}, "Halo is -3"),
        ((4, 9, 9), {"voxel_size": (0, 1, 1)}, "The voxel size along Z is 0; give a positive number."),
    ],
)
def test_errors_of_a_run_are_told_in_the_labels_of_the_window(shape, choices, said):
    import numpy as np

    image = np.zeros(shape, choices.pop("dtype", np.float32))
    with pytest.raises(ValueError) as told:
        plan(image, "general", **choices)
    assert said in explain(told.value)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("9 voxels in C 0 and C 1 are NaN.", "9 voxels in C 0 and C 1 are NaN. C is counted from 0."),
        ("C 1, T 3, T 5, … are bright.", "C 1, T 3, T 5, … are bright. C and T are counted from 0."),
        # A name, a shape, and a message that came by here before.
        ("“cells T 3.tif” has no voxel size.", "“cells T 3.tif” has no voxel size."),
        ("The tile is T 12 × Z 3.", "The tile is T 12 × Z 3."),
        ("T 3 is bright. T is counted from 0.", "T 3 is bright. T is counted from 0."),
    ],
)
def test_a_channel_or_time_point_of_a_message_is_said_to_be_counted_from_0(message, shown):
    assert in_window_words(message) == shown


def test_messages_about_several_channels_are_still_joined():
    messages = [in_window_words(f"9 voxels in C {channel} are NaN.") for channel in range(3)]
    assert group_messages(messages) == ["9 voxels in C 0 to C 2 (3) are NaN. C is counted from 0."]


@pytest.mark.parametrize("detail", ["", "Unable to allocate 858. GiB"])
def test_memory_that_runs_out_is_told_in_words(detail):
    text = explain(MemoryError(*filter(None, [detail])))
    assert text.startswith("There is not enough memory") and detail in text and "MemoryError" not in text
    assert "Choose a smaller image or PSF" in text
