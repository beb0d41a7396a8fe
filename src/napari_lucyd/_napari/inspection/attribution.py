"""The change of a result divided into its parts: at one voxel, and as layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lucyd._napari.inspection.run_layers import CHANGE, RunLayers, full, lazy
from napari_lucyd._napari.layers.coordinates import unit_scale
from napari_lucyd._napari.layers.results import MAP_LOOK, deviation, sampled
from napari_lucyd._napari.layers.viewer import UNFINISHED
from napari_lucyd.spans import SPATIAL

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_lucyd.deconvolution import Change

# The parts of a change, in the order in which they are made, with their names in the window.
PARTS = {
    "first_estimate": "first estimate",
    "correction_mask": "mask",
    "update_term": "update term",
    "remainder": "remainder",
}
_NO_PARTS = "To see what each part contributed, tick {} under Results in the Deconvolve panel and run again."
_UNFINISHED = "This run is unfinished. What each part contributed is shown when it is complete."
_WEAKER = "This is a weaker version of a result. Choose the full output to see its parts."
_OTHER = "Only LUCYD has parts that explain its change."


@dataclass(frozen=True)
class VoxelRequest:
    """A voxel to explain: its place in the output, and the data of the layers by part."""

    position: tuple[int, ...]
    axes: str
    run: RunLayers
    explained: bool

    @property
    def key(self) -> Any:
        """See `LatestOnly`."""
        return self.position, self.explained, id(full(self.run.output))


@dataclass(frozen=True)
class Voxel:
    """Numbers of one voxel in units of the image; the parts are empty if they are unknown."""

    place: str
    image: float
    output: float
    parts: dict[str, float]


def why_unexplained(run: RunLayers) -> str:
    """Return the reason why the change cannot be divided into parts; empty if it can."""
    from napari_lucyd.deconvolution.change import NEEDED, works_on_the_image

    # Layers of an unfinished run are not yet known as parts of one result.
    if UNFINISHED in run.recipe:
        return _UNFINISHED
    if "strength" in run.recipe:
        return _WEAKER
    if "g" not in run.recipe:
        return _OTHER
    missing = [name for name in NEEDED if name not in run.parts]
    if not (works_on_the_image(run.recipe) or {"first_estimate", "intermediate"} & set(run.parts)):
        missing.append("first_estimate" if run.recipe.get("first_stage") else "intermediate")
    return _NO_PARTS.format(" and ".join(name.replace("_", " ") for name in missing)) if missing else ""


def voxel_under_cursor(viewer: Viewer, run: RunLayers) -> VoxelRequest | None:
    """Return the voxel of the output under the mouse cursor; None outside of it."""
    layer, shape = run.output, full(run.output).shape
    point = np.asarray(viewer.cursor.position, float)[-layer.ndim :]
    if len(point) < layer.ndim or viewer.dims.ndisplay != 2:
        return None
    where = np.round(layer.world_to_data(point / unit_scale(layer, viewer.dims.units))).astype(int)
    if not all(0 <= at < size for at, size in zip(where, shape, strict=True)):
        return None
    axes = run.recipe["axes"]
    return VoxelRequest(tuple(int(at) for at in where), axes, run, not why_unexplained(run))


def explain_voxel(request: VoxelRequest, should_stop: Callable[[], bool]) -> Voxel:
    """Read the voxel in all layers and divide its change."""
    run, at = request.run, request.position
    image = _read(run.lazy_image(), at)
    output = _read(full(run.output), at)
    parts = {}
    if request.explained:
        change = _divide(run, {name: _read(full(layer), at) for name, layer in run.parts.items()}, image, at)
        parts = {name: float(getattr(change, name)) for name in PARTS}
    place = ", ".join(f"{name} {n}" for name, n in zip(request.axes, at, strict=True) if name in SPATIAL)
    return Voxel(place, image, output, parts)


def change_layers(run: RunLayers, names: Sequence[str]) -> list[tuple[Any, dict[str, Any]]]:
    """Make layers of the whole change (``"change"``) or of its parts; they are computed when they are seen.

    Parameters
    ----------
    run
        The layers of the run.
    names
        Keys of `PARTS`, or ``"change"``.
    """
    image, values = run.lazy_image(), {name: lazy(layer) for name, layer in run.parts.items()}
    # One range of colours for all, so that they can be compared.
    reach = deviation(sampled(values["output"]) - sampled(image), 0.0)
    change: Any = None
    if any(name != CHANGE for name in names):
        change = _divide(run, values, image, None)
    layers = []
    for name in names:
        data = values["output"] - image if name == CHANGE else getattr(change, name)
        title = CHANGE if name == CHANGE else f"change by {PARTS[name]}"
        keywords = {
            **run.place,
            "name": f"{title} · {run.title}",
            "contrast_limits": [-reach, reach],
            **MAP_LOOK,
            # Each would hide those below it, and the remainder is zero nearly everywhere.
            "visible": name == names[0],
            "metadata": run.metadata(title.replace(" ", "_")),
        }
        layers.append((data, keywords))
    return layers


def _divide(run: RunLayers, values: dict[str, Any], image: Any, at: tuple[int, ...] | None) -> Change:
    """Divide the change of whole arrays, or of the voxel ``at``."""
    from napari_lucyd.deconvolution.change import dark_levels, divide_change

    mask, update = values["correction_mask"], values["update_term"]
    first = values.get("first_estimate")
    if first is None:
        first = values["intermediate"] - mask if "intermediate" in values else image
    dark = dark_levels(run.recipe)
    if at is not None:
        dark = float(dark[tuple(min(n, size - 1) for n, size in zip(at, dark.shape, strict=True))])
    return divide_change(image, values["output"], mask, update, first, dark)


def _read(data: Any, at: tuple[int, ...]) -> float:
    return float(np.asarray(data[at]))
