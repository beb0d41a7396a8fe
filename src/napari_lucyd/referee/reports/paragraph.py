"""Methods paragraph of a run: software, versions, settings and citations, from its recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from napari_lucyd.models.catalogue import list_models, network_type
from napari_lucyd.text import blur_text, count_text, percent_text

_CITATIONS = {
    "lucyd": "Chobola et al., MICCAI 2023, doi:10.1007/978-3-031-43993-3_63",
    "rln": "Li et al., Nature Methods 19, 1427 (2022), doi:10.1038/s41592-022-01652-7",
    "care": "Weigert et al., Nature Methods 15, 1090 (2018), doi:10.1038/s41592-018-0216-7",
    "richardson-lucy": "Richardson, J. Opt. Soc. Am. 62, 55 (1972); Lucy, Astron. J. 79, 745 (1974)",
    "wiener": "Wiener, Extrapolation, Interpolation, and Smoothing of Stationary Time Series (1949)",
    "thinning": "Neufeld et al., J. Mach. Learn. Res. 25, 1 (2024)",
    "correlation": "Banterle et al., J. Struct. Biol. 183, 363 (2013)",
}
_NAMES = {"lucyd": "LUCYD", "rln": "RLN", "care": "CARE"}
# Settings of a microscope, in the order and the words of a paper. The window records the kind of a PSF.
_OPTICS = {
    "modality": "{}",
    "kind": "{}",
    "numerical_aperture": "NA {}",
    "refractive_index": "refractive index {}",
    "emission_um": "emission {} µm",
    "excitation_um": "excitation {} µm",
    "pinhole_airy": "pinhole {} Airy",
    "sheet_fwhm_um": "light sheet {} µm thick (FWHM)",
    "sample_index": "refractive index {} of the specimen",
    "depth_um": "depth {} µm",
    "psf_size": "{} voxels",
}


def methods_paragraph(recipe: Mapping[str, Any], score: Any = None) -> str:
    """Write the paragraph for the methods section of a paper.

    Parameters
    ----------
    recipe
        ``Result.recipe``, also after a round trip through JSON.
    score
        `ResultScore` of the result, or None to leave the score out.

    Returns
    -------
    str
        Sentences without line breaks.

    Raises
    ------
    ValueError
        If it is not a recipe.

    Examples
    --------
    >>> import numpy as np, napari_lucyd as nl
    >>> run = nl.deconvolve(np.eye(16), nl.Wiener(np.ones((3, 3)), balance=0.5), device="cpu")
    >>> methods_paragraph(run.recipe)
    'Images were deconvolved with napari-lucyd ... (Wiener deconvolution with a balance of 0.5 ...
    """
    if "version" not in recipe or not ("model" in recipe or "method" in recipe):
        raise ValueError("This is not the recipe of a deconvolution: it has no version, model or method.")
    cited: list[str] = []
    done = _classical(recipe, cited) if "method" in recipe else _network(recipe, cited)
    versions = recipe.get("versions", {})
    parts = [f"Python {versions['python']}"] if "python" in versions else []
    parts += [
        f"{name} {versions[key]}"
        for key, name in (("torch", "PyTorch"), ("numpy", "NumPy"))
        if key in versions
    ]
    sentences = [
        f"Images were deconvolved with napari-lucyd {recipe['version']} ({done}; {', '.join(parts)}).",
        *_preparation(recipe),
    ]
    # Steps of 1 are those of an image whose voxel size is unknown.
    if recipe.get("voxel_size") and set(recipe["voxel_size"]) != {1}:
        steps = " × ".join(f"{step:g}" for step in recipe["voxel_size"])
        axes = ", ".join("ZYX"[-len(recipe["voxel_size"]) :])
        # A microscope's PSF is computed in µm. Otherwise only the ratio of the sides counts.
        optics = "microscope" in (recipe.get("first_stage") or {})
        unit = "µm" if optics else "in the image's unit"
        sentences.append(f"The voxel size was {steps} {unit} along {axes}.")
    if score is not None:
        sentences += _scored(score, cited)
    return " ".join(sentences) + " References: " + "; ".join(dict.fromkeys(cited)) + "."


def _network(recipe: Mapping[str, Any], cited: list[str]) -> str:
    cards = {card["name"]: card for card in list_models()}
    kind = network_type(cards.get(recipe["model"], {}))
    cited.append(_CITATIONS.get(kind, _CITATIONS["lucyd"]))
    text = f"the {_NAMES.get(kind, kind)} network {recipe['model']}, SHA-256 {str(recipe['sha256'])[:12]}"
    stage = recipe.get("first_stage")
    if stage:
        cited.append(_CITATIONS["richardson-lucy"])
        iterations = _listed(stage.get("num_iter", []))
        text += (
            f", on a first estimate of {count_text(iterations, 'accelerated Richardson-Lucy iteration')} "
            f"with {_blur(stage)}"
        )
        shares = stage.get("network_share") or []
        if min(shares, default=1) < 1:
            weights = _listed([round(one, 2) for one in shares])
            noise = _listed([percent_text(one) for one in stage.get("noise") or []])
            text += f", its mask and update term weighted by {weights}"
            text += f" for a noise of {noise} of the brightness" if noise else ""
    if recipe.get("flips"):
        text += ", averaged over all mirror images"
    if recipe.get("resampling"):
        text += f", with Z resampled by a factor of {recipe['resampling']['factor']:.3g}"
    return text


def _classical(recipe: Mapping[str, Any], cited: list[str]) -> str:
    method = recipe["method"]
    name = method["name"]
    told = (recipe.get("automatic") or {}).get("told")
    psf = _blur(told) if told and recipe.get("psf") else _psf(recipe.get("psf"))
    if name == "wiener":
        cited.append(_CITATIONS["wiener"])
        return f"Wiener deconvolution with a balance of {method['balance']:g} and {psf}"
    cited.append(_CITATIONS["richardson-lucy"])
    iterations = _listed(method.get("iterations") or [method.get("num_iter")])
    details = ["accelerated"] if method.get("acceleration") else []
    if method.get("total_variation"):
        details.append(f"total variation {method['total_variation']:g}")
    if method.get("local_stopping"):
        details.append("stopped voxel by voxel by gradient consensus")
    text = "Richardson-Lucy deconvolution with " + ", ".join([count_text(iterations, "iteration"), *details])
    if name == "semi-blind":
        cited.append(_CITATIONS["thinning"])
        found = method.get("sigma_found") or method.get("width_found")
        what = "standard deviation in voxels" if method.get("sigma_found") else "factor of the PSF's width"
        values = "; ".join(blur_text(one) for one in found or [] if one)
        optics = f" with {_blur(method)}" if method.get("microscope") else ""
        return (
            f"semi-blind {text}{optics}; iterations and blur were found in the image by held-out photons "
            f"({what}: {values})"
        )
    if method.get("num_iter") == "auto":
        cited.append(_CITATIONS["thinning"])
        text += ", chosen by held-out photons"
    background = method.get("background")
    if background == "auto":
        text += ", with the dark level found in the image"
    elif background:
        text += f", with a background of {background:g}"
    return f"{text}, and {psf}"


def _psf(record: Any) -> str:
    records = record if isinstance(record, list) else [record] if record else []
    if not records:
        return "a PSF found in the image"
    shapes = "; ".join(
        f"{' × '.join(str(n) for n in entry['shape'])} voxels, SHA-256 {str(entry['sha256'])[:12]}"
        for entry in records
    )
    optics = (records[0].get("origin") or {}).get("optics")
    computed = f", computed for {_optics(optics)}" if isinstance(optics, Mapping) else ""
    return f"a given PSF ({shapes}{computed})"


def _blur(stage: Mapping[str, Any]) -> str:
    if "psf" in stage:
        return _psf(stage["psf"])
    if "microscope" in stage:
        given = stage["microscope"] if isinstance(stage["microscope"], list) else [stage["microscope"]]
        return f"the PSF computed for the microscope ({'; '.join(map(_optics, given))})"
    if "blur_sigma" in stage:
        return f"a Gaussian PSF with a standard deviation of {blur_text(stage['blur_sigma'], 6)} voxels"
    found = "; ".join(map(blur_text, stage.get("blur_sigma_found", [])))
    return f"a Gaussian PSF whose standard deviation was found in the image ({found} voxels)"


def _optics(settings: Mapping[str, Any]) -> str:
    texts = []
    for name, words in _OPTICS.items():
        if (value := settings.get(name)) is not None:
            joint = " × " if name == "psf_size" else ", "
            values = value if isinstance(value, list | tuple) else [value]
            texts.append(words.format(joint.join(_plain(one).replace("_", " ") for one in values)))
    return ", ".join(texts)


def _preparation(recipe: Mapping[str, Any]) -> list[str]:
    found = []
    if recipe.get("subtract_background"):
        background = recipe["subtract_background"]
        size = " × ".join(map(_plain, background.get("size") or ()))
        box = f"box of {size} voxels" if size else f"box of {_plain(background['wish'])} voxels"
        found.append(f"A smooth background was subtracted first (morphological opening, {box}).")
    if recipe.get("prefilter"):
        sigmas = recipe["prefilter"].get("sigma", [])
        found.append(f"Images were smoothed first by a Gaussian of {count_text(_listed(sigmas), 'voxel')}.")
    return found


def _scored(score: Any, cited: list[str]) -> list[str]:
    if score.held_out is None:
        return [f"No score from held-out photons is given: {score.reason}"]
    cited.append(_CITATIONS["thinning"])
    sentences = [
        "The result was scored by photons that it had not seen: photons of a sample were divided at random "
        "into two halves, and the same settings were applied to each. It explains "
        f"{100 * score.held_out:.1f} ± {100 * score.held_out_error:.1f} % of the specimen's structure that "
        f"the blur lets through; the image itself explains {100 * score.image_held_out:.1f} %."
    ]
    if score.correlations:
        cited.append(_CITATIONS["correlation"])
        for found in score.correlations:
            if found.resolution_after is not None:
                sentences.append(
                    "By Fourier shell correlation of the halves (threshold 1/7), the result is reproduced "
                    f"down to {found.in_voxels(found.resolution_after)} ({found.direction})."
                )
    return sentences


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(dict.fromkeys(map(_plain, values))) or "an unknown number of"


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)
