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
        ``"strict"``: the cells blur_sigma x noise_sigma exactly as the paper has them.
        ``"open"``: continuous ranges, anisotropic blur, Poisson noise, percentile scaling, flux kept.
        ``"surrogate"``: the optics and noise of one `specimen`, percentile scaling, flux kept.
        ``"estimates"``: first estimates, which have been told the PSF, of structures under many microscopes,
        on the scale that the first stage finds, flux kept.
    specimen
        Surrogate: a kind of `make_surrogate`, ``"nuclei"``, ``"membranes"`` or ``"light_sheet"``.
    blur_sigma, noise_sigma
        Strict: the values, noise in 1/255 of the range. Open: lower and upper end. Estimates: lower and upper
        end of Gaussian PSFs across, and of the read noise in 1/255 of the contrast, both log-uniform.
    axial_ratio
        Open, estimates: lower and upper end of the blur's sigma along Z over that along Y and X.
    haze
        Open: share of the specimens whose PSF has a wide foot besides its narrow peak.
    bright
        Open, surrogate: share of the specimens with a few specks and hot voxels that are far brighter than
        everything else. Surrogates with them get noise as well, up to the highest ``noise_sigma``.
        Estimates: with a few hot pixels.
    photons
        Estimates: lower and upper end of the photons that make the contrast, log-uniform.
    modalities
        Estimates: kinds of `make_psf`, one drawn for each specimen; a kind may stand more than once.
    misled
        Estimates: share of the specimens whose estimate is told a numerical aperture, or a width of the
        Gaussian, that is wrong by up to some 15 %.
    patch_shape, phantom_shape
        Spatial sizes in voxels. A 2D patch of a 3D phantom is a slice of it, out-of-focus light included.
    alive, patches_per_phantom
        Patches are cut from this many phantoms at a time; after so many patches the oldest one is replaced.
    gain
        Range of a factor, log-uniform, put on image and truth of half of the patches (of all, where flux is
        kept); the loss is taken back to scale. Teaches that twice the light is twice the result.
    offset
        Range of a shift of image and truth, uniform: backgrounds lie at many levels.
    subsampled
        Open: share of patches that take every second voxel along every axis, of image and truth alike:
        structures and blur are half as wide, the noise is as before.
    seed
        Seed of the phantoms and of everything that is drawn for a patch.
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
            raise ValueError(f"data.track is {self.track!r}; it has to be one of {', '.join(_TRACKS)}.")
        kinds = get_args(SpecimenKind) if self.track == "surrogate" else (None,)
        if self.specimen not in kinds:
            raise ValueError(
                f"data.specimen is {self.specimen!r} and data.track {self.track!r}; a surrogate is one of "
                f"{', '.join(get_args(SpecimenKind))}, the other tracks have none."
            )
        _check_from(1, self, "data", "alive", "patches_per_phantom", "patch_shape", "phantom_shape")
        shares = ("haze", "bright", "misled", "subsampled")
        _check_from(0, self, "data", "blur_sigma", "noise_sigma", "seed", *shares)
        _check_shares(self, "data", *shares)
        ranged = self.track in ("open", "estimates")
        if ranged and not len(self.blur_sigma) == len(self.noise_sigma) == 2:
            raise ValueError(
                f"In the track {self.track!r} data.blur_sigma and data.noise_sigma each have a lower and an "
                "upper end."
            )
        unknown = set(self.modalities) - set(get_args(PsfKind))
        if unknown or not self.modalities:
            raise ValueError(
                f"data.modalities is {self.modalities}; it takes one or more of "
                f"{', '.join(get_args(PsfKind))}."
            )
        ranges = ["axial_ratio", "gain", "offset", "photons"]
        ranges += ["blur_sigma", "noise_sigma"] if ranged else []
        for name in ranges:
            low, high = getattr(self, name)
            positive = name in ("axial_ratio", "gain", "photons") or (name, self.track) == (
                "blur_sigma",
                "estimates",
            )
            if low > high or (positive and not low > 0):
                raise ValueError(
                    f"data.{name} is {(low, high)}; it has to be a lower and an upper end, in this order"
                    f"{', and positive' if positive else ''}."
                )
        if len(self.phantom_shape) < len(self.patch_shape) or any(n % 2 for n in self.patch_shape):
            raise ValueError(
                f"data.patch_shape is {self.patch_shape} and data.phantom_shape {self.phantom_shape}; "
                "the patch needs even sizes and no more axes than the phantom."
            )
        reach = 2 if self.subsampled else 1
        room = self.phantom_shape[len(self.phantom_shape) - len(self.patch_shape) :]
        if any(n * reach > whole for n, whole in zip(self.patch_shape, room, strict=True)):
            raise ValueError(
                f"data.patch_shape is {self.patch_shape} and data.phantom_shape {self.phantom_shape}; a "
                f"patch {'of every second voxel ' if self.subsampled else ''}does not fit into the phantom."
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
        Patches seen in all, and in one step.
    learning_rate
        The peak of the one-cycle schedule of Adam.
    cycles
        How many such cycles the run has, one after the other: each warms up and anneals to nearly zero.
    loss
        ``"own"``: what the network's authors train it with. ``"lucyd"``: LUCYD's, for any network, over
        a batch as one; ``"lucyd_each"``: the same of each patch, so that bright ones do not own it;
        ``"squared"``: squared errors, which count the same in bright and faint patches.
    flux_weight
        Of the squared error of local means, added to the loss: keeps flux and background levels.
    free_norms
        Share of the steps, from the first on, in which batch norms use the statistics of the batch. After
        that they keep their running ones, as in use: only so can the network learn what level and what
        gain an output has to have, for the last batch norm takes both out of a batch.
    measured_norms
        Whether each batch norm's statistics are set before the first step, layer after layer, to medians
        over patches (`measure_norms`), and then held: ``free_norms`` has to be 0.
    identity_output
        LUCYD: whether the last batch norm is the identity from the first step on (`hold_output`), so that
        x' = max(0, (y + M) u) with no gain hidden behind it, and the update term is not centred.
    intermediate_weight
        LUCYD: of the loss on the intermediate estimate y + M against the truth, added to that on the output.
    mask_first
        LUCYD: share of the steps, from the first on, in which the intermediate estimate alone is trained:
        the mask learns to correct before the update term can do it all.
    near_identity
        LUCYD: whether the untrained network copies its input (`start_near_identity`), or starts as PyTorch
        has it.
    stop_dead
        Whether a run ends with an error when a validation finds a layer without a living channel.
    clip
        The largest gradient norm.
    average_decay
        Of the exponential moving average of the weights, which is what is kept; less, (1 + n) / (10 + n), in
        the first steps n, so that a short run does not keep its beginning.
    seed
        Of the weights the network starts from.
    validate_every
        Steps from one validation to the next.
    validation_patches
        How many.
    compile
        Whether to compile the network (needs a C++ compiler on the CPU).
    """

    patches: int = 6400
    batch_size: int = 8
    learning_rate: float = 4e-3
    cycles: int = 1
    loss: str = "own"
    flux_weight: float = 0.0
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
        weights = ("flux_weight", "intermediate_weight")
        shares = ("free_norms", "mask_first", "average_decay")
        _check_from(0, self, "schedule", *weights, *shares)
        _check_shares(self, "schedule", *shares)
        for name in ("learning_rate", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"schedule.{name} is {getattr(self, name)}; it has to be a positive number.")
        if self.loss not in ("own", "lucyd", "lucyd_each", "squared"):
            raise ValueError(
                f"schedule.loss is {self.loss!r}; it has to be 'own', 'lucyd', 'lucyd_each' or 'squared'."
            )
        if self.measured_norms and self.free_norms:
            raise ValueError(
                f"schedule.measured_norms sets the batch norms' statistics, and free_norms = "
                f"{self.free_norms:g} would let batches replace them; set free_norms = 0."
            )
        least = self.batch_size * self.cycles
        if self.patches < least:
            raise ValueError(
                f"schedule.patches is {self.patches}; it has to be at least {least} "
                "(batch_size times cycles), for one step a cycle."
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

    ``title``, ``description`` and ``history`` (how many runs were tried, and how this one was chosen) go
    into the model's card as they are. ``half_precision`` rounds the saved weights to float16.
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
                f"name is {self.name!r}; the model's file is called so, and a file's name cannot be empty or "
                'hold / \\ : * ? " < > |.'
            )
        if len(self.data.patch_shape) != self.network.dimension:
            raise ValueError(
                f"data.patch_shape is {self.data.patch_shape}, the network {self.network.dimension}D."
            )
        # Patches are scaled so, and an image in use has to be scaled as they were.
        method = SCALINGS[self.data.track].method
        if self.normalization.method != method or (method == "minmax" and self.normalization.pedestal):
            raise ValueError(
                f"normalization.method is {self.normalization.method!r} with a pedestal of "
                f"{self.normalization.pedestal:g}, and data.track {self.data.track!r}; patches of this track "
                f"are scaled by {method!r}{', without a pedestal' if method == 'minmax' else ''}."
            )
        kind = network_class(self.network)
        if any(n % kind.multiple for n in self.data.patch_shape):
            raise ValueError(
                f"data.patch_shape is {self.data.patch_shape}; {kind.title} needs sizes that are "
                f"multiples of {kind.multiple}."
            )
        for name in ("near_identity", "identity_output", "intermediate_weight", "mask_first"):
            if getattr(self.schedule, name) and kind is not LUCYD:
                raise ValueError(f"schedule.{name} is for LUCYD; leave it out for {kind.title}.")

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON data; ``network`` has a type if it is not LUCYD, as in the TOML file."""
        described = describe(self.network)
        if described["type"] == LUCYD.name:
            del described["type"]
        return {**asdict(self), "network": described}


def _check_from(low: int, config: Any, table: str, *names: str) -> None:
    """Raise an error if a number, or one of several, is smaller."""
    for name in names:
        value = getattr(config, name)
        if not (value and min(value) >= low if isinstance(value, tuple) else value >= low):
            raise ValueError(f"{table}.{name} is {value}; it has to be at least {low}.")


def _check_shares(config: Any, table: str, *names: str) -> None:
    for name in names:
        if getattr(config, name) > 1:
            raise ValueError(f"{table}.{name} is {getattr(config, name)}; it is a share, at most 1.")


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
        A TOML file with ``name``, ``title``, ``description``, ``history``, ``half_precision`` and the tables
        ``network``, ``normalization``, ``data`` and ``schedule``.

    Returns
    -------
    TrainingConfig
        Checked.

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
    """Make a configuration from plain data, such as a model's card; missing entries have their defaults.

    Parameters
    ----------
    entries
        As `load_config` takes them from a file.
    source
        Where they are from, for messages.

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
                raise ValueError(f"{source}: {key} is {value!r}; it has to be a table, [{key}].")
            table = dict(value)
            kind = config_class(str(table.pop("type", LUCYD.name))) if key == "network" else _TABLES[key]
            values[key] = _table(kind, key, table)
        elif key in ("name", "title", "description", "history", "half_precision"):
            values[key] = _checked(key, value, hints[key])
        else:
            raise ValueError(f"{source}: unknown entry {key!r}.")
    if "name" not in values:
        raise ValueError(f"{source}: the entry 'name' is missing.")
    if "data" in values:
        values.setdefault("normalization", SCALINGS[values["data"].track])
    return TrainingConfig(**values)


def _table(kind: type[Any], name: str, entries: dict[str, Any]) -> Any:
    known = {entry.name for entry in fields(kind)}
    unknown = sorted(set(entries) - known)
    if unknown:
        raise ValueError(f"[{name}] has no entry {unknown[0]!r}; it takes {', '.join(sorted(known))}.")
    hints = get_type_hints(kind)
    return kind(**{key: _checked(f"{name}.{key}", value, hints[key]) for key, value in entries.items()})


# What an entry is by its annotation: in words, and one and several of it in TOML.
_PLAIN: dict[Any, tuple[str, str, str]] = {
    int: ("a whole number", "whole numbers", "[8, 16]"),
    float: ("a number", "numbers", "[0.5, 1.5]"),
    str: ("a text in quotes", "", ""),
    bool: ("true or false", "", ""),
}


def _checked(name: str, value: Any, hint: Any) -> Any:
    """Return an entry in the form of its dataclass, which checks types that are not plain."""
    several = get_origin(hint) is tuple
    kinds = get_args(hint) if several else (hint,)
    if kinds[0] not in _PLAIN:
        return value
    one, many, example = _PLAIN[kinds[0]]
    if not several:
        if not _is(value, kinds[0]):
            raise ValueError(f"{name} is {value!r}; it has to be {one}.")
        return value
    wanted = None if kinds[-1] is Ellipsis else len(kinds)
    fits = isinstance(value, list | tuple) and all(_is(entry, kinds[0]) for entry in value)
    if not fits or wanted not in (None, len(value)):
        count = f"{wanted} " if wanted else ""
        raise ValueError(f"{name} is {value!r}; it has to be a list of {count}{many}, such as {example}.")
    return tuple(value)


def _is(value: Any, kind: type) -> bool:
    # In Python true is a number and a whole one is no float; in TOML inf and nan are numbers.
    if isinstance(value, bool) or kind is not float:
        return type(value) is kind
    return isinstance(value, int | float) and math.isfinite(value)
