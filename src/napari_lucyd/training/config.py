"""Configuration of a training run: one frozen dataclass for each table of the TOML file."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from napari_lucyd.models.normalization import Normalization
from napari_lucyd.networks import LUCYD, LucydConfig, NetworkConfig, config_class, describe, network_class
from napari_lucyd.simulation.psf import PsfKind
from napari_lucyd.simulation.structures import StructureKind
from napari_lucyd.simulation.surrogates import SpecimenKind

# The default scaling of the patches of each track.
SCALINGS = {
    "strict": Normalization("minmax"),
    "open": Normalization("percentile"),
    "surrogate": Normalization("percentile"),
    "estimates": Normalization("first_estimate", pedestal=0.25),
}
_TRACKS = tuple(SCALINGS)


@dataclass(frozen=True)
class DataConfig:
    """The specimens, their degradation, and the patches that are cut from them.

    Parameters
    ----------
    track
        Kind of training data.
        ``"strict"``: each combination of blur_sigma and noise_sigma, exactly as in the paper.
        ``"open"``: continuous ranges, anisotropic blur, Poisson noise, percentile scaling; keeps flux.
        ``"surrogate"``: the optics and noise of one `specimen`, percentile scaling; keeps flux.
        ``"estimates"``: first estimates, made with the PSF, of structures under many microscopes, scaled as
        the first stage scales them; keeps flux.
    specimen
        Surrogate: a kind of `make_surrogate`, ``"nuclei"``, ``"membranes"`` or ``"light_sheet"``.
    blur_sigma, noise_sigma
        Strict: the values; noise in 1/255 of the range. Open: lower and upper limit. Estimates: lower and
        upper limit of the lateral sigma of Gaussian PSFs, and of the read noise in 1/255 of the contrast,
        both drawn log-uniformly.
    axial_ratio
        Open, estimates: lower and upper limit of the blur's sigma along Z, divided by that along Y and X.
    haze
        Open: share of the specimens whose PSF has a wide foot besides its narrow peak.
    bright
        Open, surrogate: share of the specimens with a few specks and hot voxels that are far brighter than
        everything else. Such surrogates also get noise, up to the highest ``noise_sigma``.
        Estimates: share of the specimens with a few hot pixels.
    photons
        Estimates: lower and upper limit of the photons that correspond to the contrast, drawn log-uniformly.
    modalities
        Estimates: kinds of `make_psf`. One of them is drawn for each specimen. A kind that is listed several
        times is drawn more often.
    misled
        Estimates: share of the specimens whose estimate is made with a wrong PSF: its numerical aperture, or
        the width of the Gaussian, is wrong by up to about 15 %.
    beads, flat
        Estimates: share of the specimens that are beads alone in the dark, and share of those that are flat
        fields side by side or empty.
    structures
        Estimates: kinds of the specimens that are neither beads nor flat fields, each drawn as often as it is
        named; see `make_structures`.
    thin
        Estimates in 2D: share of the specimens that are slabs so thin that all of their light is in focus.
    effort
        Estimates: limits of a factor, drawn log-uniformly, by which the number of iterations of the estimate
        is multiplied.
    patch_shape, phantom_shape
        Spatial sizes in voxels. A 2D patch of a 3D phantom is a slice of it, with out-of-focus light.
    alive, patches_per_phantom
        Number of phantoms from which patches are cut at a time, and number of patches after which the oldest
        phantom is replaced.
    gain
        Limits of a factor, drawn log-uniformly, that multiplies image and truth of half of the patches (of
        all patches if flux is kept). The loss divides by it. It teaches that twice the light gives twice the
        result.
    offset
        Limits of a constant, drawn uniformly, that is added to image and truth, for backgrounds at many
        levels.
    subsampled
        Open: share of the patches that take every second voxel along every axis of image and truth.
        Structures and blur become half as wide, and the noise stays as it is.
    seed
        Seed of the phantoms and of all random numbers of a patch.
    """

    track: str = "strict"
    specimen: SpecimenKind | None = None
    blur_sigma: tuple[float, ...] = (1.0, 1.2, 1.5)
    noise_sigma: tuple[float, ...] = (0.0, 15.0, 30.0)
    axial_ratio: tuple[float, float] = (1.0, 1.0)
    haze: float = 0.0
    bright: float = 0.0
    photons: tuple[float, float] = (40.0, 40000.0)
    modalities: tuple[str, ...] = (
        "gaussian",
        "gaussian",
        "widefield",
        "widefield",
        "confocal",
        "light_sheet",
    )
    misled: float = 0.0
    beads: float = 0.0
    flat: float = 0.0
    structures: tuple[str, ...] = ("mixture",)
    thin: float = 0.0
    effort: tuple[float, float] = (0.99, 1.84)
    patch_shape: tuple[int, ...] = (32, 64, 64)
    phantom_shape: tuple[int, ...] = (128, 128, 128)
    alive: int = 12
    patches_per_phantom: int = 32
    gain: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    subsampled: float = 0.0
    seed: int = 1

    def __post_init__(self) -> None:
        if self.track not in _TRACKS:
            raise ValueError(f"data.track is {self.track!r}; give one of {', '.join(_TRACKS)}.")
        kinds = get_args(SpecimenKind) if self.track == "surrogate" else (None,)
        if self.specimen not in kinds:
            raise ValueError(
                f"data.specimen is {self.specimen!r} and data.track is {self.track!r}; give one of "
                f"{', '.join(get_args(SpecimenKind))} for the track surrogate, and none for other tracks."
            )
        _check_from(1, self, "data", "alive", "patches_per_phantom", "patch_shape", "phantom_shape")
        shares = ("haze", "bright", "misled", "beads", "flat", "thin", "subsampled")
        _check_from(0, self, "data", "blur_sigma", "noise_sigma", "seed", *shares)
        _check_shares(self, "data", *shares)
        ranged = self.track in ("open", "estimates")
        if ranged and not len(self.blur_sigma) == len(self.noise_sigma) == 2:
            raise ValueError(
                f"data.blur_sigma is {self.blur_sigma} and data.noise_sigma is {self.noise_sigma}; for the "
                f"track {self.track} give a lower and an upper limit of each, such as [0.8, 2.0]."
            )
        unknown = set(self.modalities) - set(get_args(PsfKind))
        if unknown or not self.modalities:
            raise ValueError(
                f"data.modalities is {self.modalities}; give one or more of {', '.join(get_args(PsfKind))}."
            )
        unknown = set(self.structures) - set(get_args(StructureKind))
        if unknown or not self.structures:
            raise ValueError(
                f"data.structures is {self.structures}; give one or more of "
                f"{', '.join(get_args(StructureKind))}."
            )
        ranges = ["axial_ratio", "gain", "offset", "photons", "effort"]
        ranges += ["blur_sigma", "noise_sigma"] if ranged else []
        for name in ranges:
            low, high = getattr(self, name)
            positive = name in ("axial_ratio", "gain", "photons", "effort") or (name, self.track) == (
                "blur_sigma",
                "estimates",
            )
            if low > high or (positive and not low > 0):
                raise ValueError(
                    f"data.{name} is {(low, high)}; give a lower and an upper limit"
                    f"{', both above 0' if positive else ''}, such as [0.5, 1.5]."
                )
        if len(self.phantom_shape) < len(self.patch_shape) or any(n % 2 for n in self.patch_shape):
            raise ValueError(
                f"data.patch_shape is {self.patch_shape} and data.phantom_shape is {self.phantom_shape}; "
                "give the patch even sizes and no more axes than the phantom."
            )
        if self.thin and not (self.track == "estimates" and len(self.patch_shape) < len(self.phantom_shape)):
            raise ValueError(
                f"data.thin is {self.thin:g}; give 0, because only 2D patches of 3D phantoms on the track "
                "estimates have out-of-focus light that a thin specimen lacks."
            )
        reach = 2 if self.subsampled else 1
        room = self.phantom_shape[len(self.phantom_shape) - len(self.patch_shape) :]
        if any(n * reach > whole for n, whole in zip(self.patch_shape, room, strict=True)):
            raise ValueError(
                f"data.patch_shape is {self.patch_shape} and data.phantom_shape is {self.phantom_shape}; "
                f"give a phantom that is at least {'twice ' if self.subsampled else ''}as large as the patch"
                f"{', since subsampled patches take every second voxel' if self.subsampled else ''}."
            )

    @property
    def photometric(self) -> bool:
        """True if image and truth are scaled by the same two numbers, so that flux is kept."""
        return self.track != "strict"


@dataclass(frozen=True)
class ScheduleConfig:
    """The length of the training, its rates and its loss.

    Parameters
    ----------
    patches, batch_size
        Number of patches in the whole run, and in one step.
    learning_rate
        Peak of the one-cycle schedule of Adam.
    cycles
        Number of such cycles in the run. Each warms up and then falls to nearly zero.
    loss
        Loss of the training. ``"own"``: that of the network's authors. ``"lucyd"``: LUCYD's loss for any
        network, over the batch as a whole. ``"lucyd_each"``: the mean of LUCYD's loss over the patches, so
        that bright patches do not dominate. ``"squared"``: squared errors, which count the same in
        bright and faint patches.
    flux_weight
        Weight of the squared error of local means, which is added to the loss. It keeps flux and background.
    light_weight
        Weight of the absolute error of local means, which is added too. Beside a bright bead, it counts a
        faint dark ring, which the squared errors of the bead hide.
    free_norms
        Share of the steps, from the first one on, in which batch norms use the statistics of the batch. After
        that they keep their running statistics, as in use. Only then can the network learn the level and the
        gain of its output, because batch statistics remove both.
    measured_norms
        True to set the statistics of each batch norm before the first step, layer after layer, to medians
        over patches (`measure_norms`), and to hold them. Needs ``free_norms`` = 0.
    identity_output
        LUCYD: True to make the last batch norm the identity from the first step on (`hold_output`). Then
        x' = max(0, (y + M) u) without a hidden gain, and the update term is not centred.
    intermediate_weight
        LUCYD: weight of the loss of the intermediate estimate y + M, which is added to that of the output.
    mask_first
        LUCYD: share of the steps, from the first one on, in which only the intermediate estimate is trained.
        The mask then learns to correct before the update term can do everything.
    near_identity
        LUCYD: True to start from a network that copies its input (`start_near_identity`). If False, it starts
        as PyTorch initialises it.
    stop_dead
        True to end a run with an error if a validation finds a layer without a living channel.
    clip
        Largest gradient norm.
    average_decay
        Decay of the exponential moving average of the weights; the average is saved as the model. It is
        smaller in the first steps, (1 + n) / (10 + n) in step n, so that a short run does not keep its start.
    seed
        Seed of the network's initial weights.
    validate_every
        Number of steps between validations.
    validation_patches
        Number of patches in a validation.
    compile
        True to compile the network with torch (needs a C++ compiler on the CPU).
    """

    patches: int = 6400
    batch_size: int = 8
    learning_rate: float = 4e-3
    cycles: int = 1
    loss: str = "own"
    flux_weight: float = 0.0
    light_weight: float = 0.0
    free_norms: float = 1.0
    measured_norms: bool = False
    identity_output: bool = False
    intermediate_weight: float = 0.0
    mask_first: float = 0.0
    near_identity: bool = False
    stop_dead: bool = True
    clip: float = 1.0
    average_decay: float = 0.995
    seed: int = 1
    validate_every: int = 100
    validation_patches: int = 18
    compile: bool = False

    def __post_init__(self) -> None:
        counts = ("patches", "batch_size", "cycles", "validate_every", "validation_patches")
        _check_from(1, self, "schedule", *counts)
        weights = ("flux_weight", "light_weight", "intermediate_weight")
        shares = ("free_norms", "mask_first", "average_decay")
        _check_from(0, self, "schedule", *weights, *shares)
        _check_shares(self, "schedule", *shares)
        for name in ("learning_rate", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"schedule.{name} is {getattr(self, name)}; give a number above 0.")
        if self.loss not in ("own", "lucyd", "lucyd_each", "squared"):
            raise ValueError(
                f"schedule.loss is {self.loss!r}; give 'own', 'lucyd', 'lucyd_each' or 'squared'."
            )
        if self.measured_norms and self.free_norms:
            raise ValueError(
                f"schedule.measured_norms is true and schedule.free_norms is {self.free_norms:g}; give "
                "free_norms = 0, because batches would otherwise replace the measured statistics."
            )
        least = self.batch_size * self.cycles
        if self.patches < least:
            raise ValueError(
                f"schedule.patches is {self.patches}; give at least {least} (batch_size times cycles), "
                "so that each cycle has a step."
            )

    @property
    def steps(self) -> int:
        """Total number of optimiser steps."""
        return self.cycle_steps * self.cycles

    @property
    def cycle_steps(self) -> int:
        """Number of optimiser steps of one cycle."""
        return self.patches // self.batch_size // self.cycles


@dataclass(frozen=True)
class TrainingConfig:
    """One training run; `load_config` reads it from TOML.

    ``title``, ``description`` and ``history`` (the number of runs that were tried, and the reason for this
    one) are copied into the model's card. ``half_precision`` rounds the saved weights to float16.
    """

    name: str
    title: str = ""
    description: str = ""
    history: str = ""
    half_precision: bool = False
    network: NetworkConfig = field(default_factory=LucydConfig)
    normalization: Normalization = field(default_factory=lambda: SCALINGS["strict"])
    data: DataConfig = field(default_factory=DataConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)

    def __post_init__(self) -> None:
        if not self.name.strip() or set(self.name) & set('/\\:*?"<>|') or not self.name.isprintable():
            raise ValueError(
                f"name is {self.name!r}; give a name for the model's file that is not empty and "
                'holds none of / \\ : * ? " < > |.'
            )
        if len(self.data.patch_shape) != self.network.dimension:
            raise ValueError(
                f"data.patch_shape is {self.data.patch_shape}, but the network is "
                f"{self.network.dimension}D; give {self.network.dimension} sizes."
            )
        # In use, images must be scaled as the patches are.
        method = SCALINGS[self.data.track].method
        if self.normalization.method != method or (method == "minmax" and self.normalization.pedestal):
            raise ValueError(
                f"normalization.method is {self.normalization.method!r} with a pedestal of "
                f"{self.normalization.pedestal:g}, but patches of the track {self.data.track} are scaled by "
                f"{method!r}{' without a pedestal' if method == 'minmax' else ''}; give that, or leave "
                "[normalization] out."
            )
        kind = network_class(self.network)
        if any(n % kind.multiple for n in self.data.patch_shape):
            raise ValueError(
                f"data.patch_shape is {self.data.patch_shape}; for {kind.title} give multiples of "
                f"{kind.multiple}."
            )
        for name in ("near_identity", "identity_output", "intermediate_weight", "mask_first"):
            if getattr(self.schedule, name) and kind is not LUCYD:
                raise ValueError(f"schedule.{name} is only for LUCYD; leave it out for {kind.title}.")

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON data. As in the TOML file, ``network`` names its type if it is not LUCYD."""
        described = describe(self.network)
        if described["type"] == LUCYD.name:
            del described["type"]
        return {**asdict(self), "network": described}


def _check_from(low: int, config: Any, table: str, *names: str) -> None:
    """Raise an error if a number, or one of several, is smaller."""
    for name in names:
        value = getattr(config, name)
        if not (value and min(value) >= low if isinstance(value, tuple) else value >= low):
            raise ValueError(f"{table}.{name} is {value}; give at least {low}.")


def _check_shares(config: Any, table: str, *names: str) -> None:
    for name in names:
        if getattr(config, name) > 1:
            raise ValueError(
                f"{table}.{name} is {getattr(config, name)}; give a share, a number from 0 to 1."
            )


_TABLES: dict[str, type[Any]] = {
    "normalization": Normalization,
    "data": DataConfig,
    "schedule": ScheduleConfig,
}


def load_config(path: str | Path) -> TrainingConfig:
    """Read a training configuration.

    Parameters
    ----------
    path
        TOML file with ``name``, ``title``, ``description``, ``history``, ``half_precision`` and the tables
        ``network``, ``normalization``, ``data`` and ``schedule``.

    Returns
    -------
    TrainingConfig
        The configuration, checked.

    Raises
    ------
    ValueError
        If an entry is unknown or does not fit; the message names it.
    """
    with Path(path).open("rb") as file:
        try:
            entries = tomllib.load(file)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path} is not valid TOML: {error}.") from error
    return parse_config(entries, str(path))


def parse_config(entries: Mapping[str, Any], source: str = "the configuration") -> TrainingConfig:
    """Make a configuration from plain data, such as a model's card; missing entries get their defaults.

    Parameters
    ----------
    entries
        Entries of the configuration, as in a TOML file.
    source
        Name of their origin, for messages.

    Raises
    ------
    ValueError
        If an entry is unknown or does not fit; the message names it.
    """
    values: dict[str, Any] = {}
    hints = get_type_hints(TrainingConfig)
    for key, value in entries.items():
        if key == "network" or key in _TABLES:
            if not isinstance(value, Mapping):
                raise ValueError(f"{source}: {key} is {value!r}; give a table, [{key}].")
            table = dict(value)
            kind = config_class(str(table.pop("type", LUCYD.name))) if key == "network" else _TABLES[key]
            values[key] = _table(kind, key, table)
        elif key in ("name", "title", "description", "history", "half_precision"):
            values[key] = _checked(key, value, hints[key])
        else:
            known = ("name", "title", "description", "history", "half_precision", "network", *_TABLES)
            raise ValueError(f"{source}: there is no entry {key!r}; the entries are {', '.join(known)}.")
    if "name" not in values:
        raise ValueError(f"{source}: the entry 'name' is missing; add name = \"...\", the name of the model.")
    if "data" in values:
        values.setdefault("normalization", SCALINGS[values["data"].track])
    return TrainingConfig(**values)


def _table(kind: type[Any], name: str, entries: dict[str, Any]) -> Any:
    known = {entry.name for entry in fields(kind)}
    unknown = sorted(set(entries) - known)
    if unknown:
        raise ValueError(f"[{name}] has no entry {unknown[0]!r}; its entries are {', '.join(sorted(known))}.")
    hints = get_type_hints(kind)
    return kind(**{key: _checked(f"{name}.{key}", value, hints[key]) for key, value in entries.items()})


# Expected values of an entry by its annotation: one value and several in words, and an example in TOML.
_PLAIN: dict[Any, tuple[str, str, str]] = {
    int: ("a whole number", "whole numbers", "[8, 16]"),
    float: ("a number", "numbers", "[0.5, 1.5]"),
    str: ("a text in quotes", "", ""),
    bool: ("true or false", "", ""),
}


def _checked(name: str, value: Any, hint: Any) -> Any:
    """Check an entry of a plain type, and return it; the dataclass checks other types."""
    several = get_origin(hint) is tuple
    kinds = get_args(hint) if several else (hint,)
    if kinds[0] not in _PLAIN:
        return value
    one, many, example = _PLAIN[kinds[0]]
    if not several:
        if not _is(value, kinds[0]):
            raise ValueError(f"{name} is {value!r}; give {one}.")
        return value
    wanted = None if kinds[-1] is Ellipsis else len(kinds)
    fits = isinstance(value, list | tuple) and all(_is(entry, kinds[0]) for entry in value)
    if not fits or wanted not in (None, len(value)):
        count = f"{wanted} " if wanted else ""
        raise ValueError(f"{name} is {value!r}; give a list of {count}{many}, such as {example}.")
    return tuple(value)


def _is(value: Any, kind: type) -> bool:
    # Python's True is an int and an int is no float, and TOML allows inf and nan.
    if isinstance(value, bool) or kind is not float:
        return type(value) is kind
    return isinstance(value, int | float) and math.isfinite(value)
