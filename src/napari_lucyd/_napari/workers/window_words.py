"""Messages of the core in the words of the window."""

from __future__ import annotations

import re

from napari_lucyd.deconvolution.findings import Finding, kind_of
from napari_lucyd.text import capitalized

# Hints of the core for Python and the command line, and what they mean in the window. Longer ones first.
_HINTS = (
    (
        r"scale each time point by itself \(separate='TC', --separate TC\)",
        "choose Statistics ▸ Per channel and time point",
    ),
    (
        r"scale each channel by itself \(separate='C', --separate C\)",
        "choose Statistics ▸ Per channel",
    ),
    (
        r"scale with normalization='minmax' \(--normalization minmax\)",
        "choose Scaling ▸ Minimum to maximum",
    ),
    (
        r"scale with normalization='percentile' \(--normalization percentile\)",
        "choose Scaling ▸ Robust percentiles",
    ),
    (r"name a method, such as 'lucyd' \(--method lucyd, or Run anyway\)", "choose the method LUCYD"),
    (r" \(--method auto\)", ""),
    (r", or convert it to numbers first: image\.astype\('uint8'\)", ""),
    (r"^name is ", "Name is "),
    (r" With center_psf=False it stays where it is\.", ""),
    (r"give its axes: --axes ([A-Z]+)( or [A-Z]+)?", r"enter \1\2 under Axes"),
    (
        r"Name each with a letter: (.*?); e\.g\. axes='([A-Z]+)'",
        r"Name each under Axes with a letter: \1, as \2",
    ),
    (r"(?:, |; )e\.g\. axes='([A-Z]+)'", r" under Axes, e.g. \1"),
    (r"name the axes, for example ([A-Z]+)", r"enter them under Axes, for example \1"),
    (r"\baxes='?([A-Z]+)'?", r"Axes: \1"),
    (
        r"flips=True averages the output only, so .*? cannot be returned\. Remove them from outputs, or set "
        r"flips=False",
        "Mean over flips has no other layers than the output. Choose the output alone, or turn Mean over "
        "flips off",
    ),
    (
        r"isotropic=True needs the voxel size\. Give voxel_size=\(z, y, x\), in any one unit",
        "Isotropic needs the voxel size. Enter it under Image",
    ),
    (
        r"; give voxel_size along [A-Z, ]+ in µm, or tell the blur as blur_sigma in voxels",
        "; enter it under Image",
    ),
    (r": give voxel_size in µm", ": enter it under Image"),
    (r"; give the image's (?:too|voxel_size), or neither", "; enter it under Image"),
    (r"\b[Mm]icroscope is a list of (\d+)", r"Emission lists \1 wavelengths"),
    (r"the width of the blur \(blur_sigma\)", "the Blur width"),
    (r" \(blur_sigma\)", ""),
    (r"give None, 'auto' or (a number of )voxels", r"leave it empty, or enter auto or \1pixels"),
    (r"; give (.*), or None\.", r"; give \1, or leave it empty."),
    (r"[Pp]ass one channel of one time point", "Choose a layer with one channel and one time point"),
    (
        r"The result holds only a checksum of its PSF\. Give the psf that was used, or score the result "
        r"right after its run\.",
        "Its PSF came from a layer or a file, and a result does not keep it. Turn Score on in the Deconvolve "
        "panel, and run again.",
    ),
    (r" Save `network\.state_dict\(\)`\.", " Ask its author for a file of plain weights."),
)
# Channels and time points in a message, but not in a name or a shape. They have the numbers that they have on
# napari's sliders, in recipes and in Python.
_PLACES = re.compile(r"“[^”]*”|(\b[TC] \d+(?:, [TC] \d+)*\b)(?! ×)")
# Arguments of the core, and their labels in the window.
_LABELS = {
    "psf_voxel_size": "the voxel size of the PSF",
    "voxel_size": "the voxel size",
    "tile_shape": "Tile",
    "halo is": "Halo is",
    "blur_sigma": "Blur σ",
    "emission_um": "Emission",
    "excitation_um": "Excitation",
    "numerical_aperture": "NA",
    "refractive_index": "Refractive index",
    "pinhole_airy": "Pinhole",
    "sheet_fwhm_um": "Sheet",
    "sample_index": "Sample index",
    "depth_um": "Depth",
    "subtract_background": "Background size",
    "bead_diameter_um": "Bead diameter",
    "local_stopping": "Local stopping",
    "num_iter": "Iterations",
}


def in_window_words(message: str) -> Finding:
    """Write an error or a warning of the core with the names that the window has.

    Examples
    --------
    >>> in_window_words("Leave it out, or scale each time point by itself (separate='TC', --separate TC).")
    'Leave it out, or choose Statistics ▸ Per channel and time point.'
    >>> in_window_words("voxel_size is (0.0, 1.0); give 2 positive numbers.")
    'The voxel size is (0.0, 1.0); give 2 positive numbers.'
    >>> in_window_words("9 voxels in C 1 are NaN.")
    '9 voxels in C 1 are NaN. C is counted from 0.'
    """
    text = str(message)
    for hint, words in _HINTS:
        text = re.sub(hint, words, text)
    for name, label in _LABELS.items():
        text = re.sub(rf"(?<![\w.]){name}\b(?!=)", label, text)
    text = say_how_counted(text)
    # A label may now begin the text.
    return Finding(capitalized(text) if text != message else text, kind_of(message))


def say_how_counted(text: str) -> str:
    """Say at the end of a message that its channels and time points are counted from 0."""
    places = " ".join(found[1] for found in _PLACES.finditer(text) if found[1])
    letters = [letter for letter in "CT" if f"{letter} " in places]
    if not letters or "counted from 0" in text:
        return text
    # A message without a full stop is a part of another one.
    are = "is" if len(letters) == 1 else "are"
    said = f"{' and '.join(letters)} {are} counted from 0"
    return f"{text} {said}." if text.endswith(".") else f"{text} ({said})"
