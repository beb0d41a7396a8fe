"""A phantom and its image in a microscope, as a generator of events for a worker thread.

Nothing here touches the window. No `RuntimeError` leaves the generator: superqt's worker would swallow it and
neither report it nor finish.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_lucyd._napari.layers.viewer import METADATA_KEY, PSF_OF
from napari_lucyd._napari.phantom.layers import COUNTS, LayerData, pair
from napari_lucyd._napari.phantom.parameters import BLUR, OPTICS, PHANTOM, PhantomParameters
from napari_lucyd._napari.phantom.task import PhantomTask
from napari_lucyd._napari.psf.optics import OpticsPsf
from napari_lucyd._napari.psf.origins import Psf, check_steps
from napari_lucyd._napari.widgets.fields import in_labels
from napari_lucyd._napari.workers import garbage_collection
from napari_lucyd._napari.workers.events import Advanced, Note, RunError, explain
from napari_lucyd.simulation import (
    Degraded,
    Phantom,
    acquire,
    degrade,
    make_phantom,
    make_structures,
    make_surrogate,
    simulated_psf,
)
from napari_lucyd.simulation.phantoms import BACKGROUND
from napari_lucyd.simulation.psf import optics_record
from napari_lucyd.simulation.structures import BLUR_SIGMA

CANCELLED = "Cancelled; no layer was made."
# Arguments that errors of the core may name.
_ARGUMENTS = ("blur_sigma", "noise_sigma", "photons_per_unit", "read_noise", "sheet_fwhm_um")
_STAGES = 3

Ask = Callable[..., None]
"""Raises `Cancelled` when the run must stop."""


@dataclass(frozen=True)
class Made:
    """Event: the sample is made.

    Attributes
    ----------
    layers
        The degraded image, then the layers below it.
    seconds
        Duration.
    psf_text
        Description of the PSF, if one was chosen.
    """

    layers: list[LayerData]
    seconds: float
    psf_text: str = ""


Event = Note | Advanced | Made


def make(task: PhantomTask, should_stop: Callable[[], bool]) -> Iterator[Event]:
    """Make a sample.

    Parameters
    ----------
    task
        The choices.
    should_stop
        Called between the stages, after each object and after each plane of a PSF; True stops the work.

    Yields
    ------
    Event
        `Advanced` before each stage, then `Made`; or a `Note` if it was cancelled.

    Raises
    ------
    RunError
        If it cannot be made; the message says why.
    """
    from napari_lucyd.deconvolution import Cancelled

    try:
        yield from _make(task, should_stop)
    except Cancelled:
        yield Note(CANCELLED)
    except (RuntimeError, ValueError, OSError, MemoryError) as error:
        raise RunError(in_labels(explain(error), _ARGUMENTS, PhantomParameters)) from error


def _make(task: PhantomTask, should_stop: Callable[[], bool]) -> Iterator[Event]:
    from napari_lucyd.deconvolution import Cancelled

    def ask(*_: int) -> None:
        if should_stop():
            raise Cancelled(CANCELLED)

    began = time.monotonic()
    yield Advanced(0, _STAGES, None, "Drawing the objects…")
    with garbage_collection.held():
        truth = draw(task.parameters, ask)
    yield Advanced(1, _STAGES, None, "Imaging them…")
    with garbage_collection.held():
        sample, psf = image(task, truth, ask)
    ask()
    yield Advanced(2, _STAGES, None, "Preparing the layers…")
    with garbage_collection.held():
        layers = _layers(task.parameters, sample, psf, ask)
    ask()
    yield Made(layers, time.monotonic() - began, psf.describe() if psf else "")


def draw(parameters: PhantomParameters, ask: Ask) -> Phantom:
    """Draw the sharp objects."""
    if parameters.specimen == PHANTOM:
        return make_phantom(parameters.sizes, **parameters.objects, rng=parameters.rng, progress=ask)
    ask()
    return make_structures(
        parameters.specimen,  # type: ignore[arg-type]
        parameters.sizes,
        rng=parameters.rng,
        background=BACKGROUND,
        anisotropy=parameters.steps[0] / parameters.steps[-1],
        blur_sigma=_blur(parameters) if parameters.degradation == BLUR else BLUR_SIGMA,
    )


def _blur(parameters: PhantomParameters) -> float | tuple[float, ...]:
    return parameters.blur_sigma[0] if len(parameters.blur_sigma) == 1 else parameters.blur_sigma


def image(task: PhantomTask, truth: Phantom, ask: Ask) -> tuple[Degraded, Psf | None]:
    """Image a phantom in a microscope; return the image, and the PSF if one was chosen."""
    made = task.parameters
    ask()
    if made.degradation == BLUR:
        structures = made.specimen != PHANTOM
        sample = degrade(
            truth,
            blur_sigma=_blur(made),
            noise_sigma=made.noise_sigma,
            photons=made.photons,
            photometric=made.photometric,
            # Thin structures lose most of their brightness in the blur; the noise is relative to the rest.
            noise_reference="image" if structures else "truth",
            rng=made.rng,
        )
        units = float(np.ptp(truth.image)) if structures and made.photometric else COUNTS
        return sample.in_counts(units), None
    if made.degradation != OPTICS:
        sheet = made.sheet_fwhm_um if made.degradation == "light_sheet" else None
        sample = make_surrogate(
            truth,
            made.degradation,  # type: ignore[arg-type]
            voxel_size=made.steps,
            sheet_fwhm_um=sheet,
            rng=made.rng,
            progress=ask,
        )
        return sample, None
    if task.psf is None:
        raise ValueError("Choose a PSF.")
    psf = task.psf.load(task.image, made.axes, _asked(ask))
    check_steps(psf, task.image, made.axes)
    ask()
    sample = acquire(
        truth,
        psf.values,
        background=BACKGROUND,
        photons_per_unit=made.photons_per_unit,
        read_noise=made.read_noise,
        rng=made.rng,
        psf_parameters=task.psf.arguments(psf) if isinstance(task.psf, OpticsPsf) else psf.origin,
    )
    return sample, psf


def _asked(ask: Ask) -> Callable[[], bool]:
    """Wrap `ask`, which raises by itself, as a function that returns a bool."""

    def should_stop() -> bool:
        ask()
        return False

    return should_stop


def _layers(made: PhantomParameters, sample: Degraded, psf: Psf | None, ask: Ask) -> list[LayerData]:
    truth, degraded = pair(made.layer_name, sample, made.steps)
    layers = [degraded, truth] if "truth" in made.outputs else [degraded]
    if "psf" in made.outputs:
        shown = psf or psf_of(sample, made.steps, ask)
        # The user may change a layer.
        values = np.array(shown.values, np.float32)
        keywords: dict[str, Any] = {**shown.keywords(f"{made.layer_name} PSF"), "visible": False}
        keywords["metadata"][METADATA_KEY][PSF_OF] = sample.parameters
        layers.append((values, keywords, "image"))
    return layers


def psf_of(sample: Degraded, steps: tuple[float, ...], ask: Ask) -> Psf:
    """Return the PSF of a sample that was blurred by a Gaussian or as a surrogate."""
    made = sample.parameters
    values = simulated_psf(made, progress=ask)
    if "blur_sigma" in made:
        origin = {"blur_sigma_voxels": made["blur_sigma"], "photometric": made["photometric"]}
        return Psf(values, "Gaussian", steps, "µm", origin)
    optics = {name: value for name, value in made["psf"].items() if name not in ("shape", "voxel_size")}
    origin = {"optics": optics_record(optics.pop("kind"), **optics), "voxel_size": list(steps)}
    return Psf(values, made["surrogate"], steps, "µm", origin)
