"""Values of command-line options: texts to numbers, with errors that say what was expected.

typer has no option that takes several numbers with commas, so these options are texts.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from fractions import Fraction
from functools import wraps
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand

from napari_lucyd.cli.shared.console import fail
from napari_lucyd.cli.shared.words import flag, options_of
from napari_lucyd.deconvolution.result import Part
from napari_lucyd.errors import torch_reason
from napari_lucyd.text import shape_text


class Method(StrEnum):
    """A method of deconvolution."""

    auto = "auto"
    lucyd = "lucyd"
    rln = "rln"
    care = "care"
    richardson_lucy = "richardson-lucy"
    wiener = "wiener"
    semi_blind = "semi-blind"


class Normalization(StrEnum):
    """A way to scale intensities for the network."""

    model = "model"
    minmax = "minmax"
    percentile = "percentile"
    standard = "standard"
    none = "none"


class Precision(StrEnum):
    """The number format in which a network is computed."""

    float32 = "float32"
    float16 = "float16"


class Microscope(StrEnum):
    """A kind of microscope."""

    widefield = "widefield"
    confocal = "confocal"
    light_sheet = "light_sheet"
    gaussian = "gaussian"


class Modality(StrEnum):
    """A kind of microscope that took an image."""

    widefield = "widefield"
    confocal = "confocal"
    light_sheet = "light-sheet"


class Specimen(StrEnum):
    """A kind of simulated specimen."""

    nuclei = "nuclei"
    membranes = "membranes"
    light_sheet = "light_sheet"


class Structures(StrEnum):
    """A kind of simulated structures."""

    mixture = "mixture"
    puncta = "puncta"
    filaments = "filaments"
    sheets = "sheets"
    bodies = "bodies"
    tubules = "tubules"


class FileFormat(StrEnum):
    """A format of result files in a folder; each value is the suffix without its dot."""

    ome_tiff = "ome.tif"
    imagej = "tif"
    ome_zarr = "ome.zarr"


class StoredDtype(StrEnum):
    """A data type of stored results."""

    float32 = "float32"
    uint16 = "uint16"


def whole_numbers(text: str, option: str) -> tuple[int, ...]:
    """Read ``"32,128,128"`` or ``"24"``.

    Parameters
    ----------
    text
        The text as typed.
    option
        Name of the option, for the error.

    Examples
    --------
    >>> whole_numbers("32,128,128", "--tile-shape")
    (32, 128, 128)
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise _bad(text, "whole numbers with commas, like 32,128,128", option) from None


def numbers(text: str, option: str) -> tuple[float, ...]:
    """Read ``"0.3,0.1,0.1"``, ``"1.2"`` or ``"15/255"``; see :func:`whole_numbers`.

    Examples
    --------
    >>> numbers("0.3,0.1,0.1", "--voxel-size"), numbers("51/255", "--noise-sigma")
    ((0.3, 0.1, 0.1), (0.2,))
    """
    try:
        return tuple(float(Fraction(part.strip())) for part in text.split(","))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise _bad(text, "numbers with commas and decimal points, like 0.3,0.1,0.1", option) from None


def voxel_steps(text: str, option: str) -> tuple[float, ...]:
    """Read up to three positive numbers; see :func:`numbers`."""
    values = numbers(text, option)
    if len(values) > 3 or min(values) <= 0:
        raise _bad(text, "up to three positive numbers with decimal points, like 0.3,0.1,0.1", option)
    return values


def number(text: str, option: str) -> float:
    """Read ``"0.06"`` or ``"15/255"``; see :func:`whole_numbers`."""
    values = numbers(text, option)
    if len(values) != 1:
        raise _bad(text, "one number, like 0.06 or 15/255", option)
    return values[0]


def auto_or_number(text: str | None, option: str, number: str = "a number of voxels") -> str | float | None:
    """Read ``"auto"`` or a number; None stays None. See :func:`whole_numbers`."""
    if text is None or text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise _bad(text, f"auto, or {number}, like 0.5", option) from None


def auto_or_count(text: str, option: str) -> str | int:
    """Read ``"auto"`` or a whole number of at least 1. See :func:`whole_numbers`."""
    if text == "auto":
        return text
    if not text.isdecimal() or int(text) < 1:
        raise _bad(text, "auto, or a whole number of at least 1", option)
    return int(text)


def parts(text: str, option: str) -> tuple[Part, ...]:
    """Read ``"output,correction_mask"``; see :func:`whole_numbers`."""
    try:
        return tuple(dict.fromkeys(Part(word.strip()) for word in text.split(",")))
    except ValueError:
        raise _bad(text, f"some of {', '.join(Part)}, with commas", option) from None


def refuse_given(context: typer.Context, names: Iterable[str], reason: str) -> None:
    """Refuse options that would have no effect.

    Parameters
    ----------
    context
        The command's context.
    names
        Python names of the options.
    reason
        Reason why they have no effect.
    """
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"{reason}; leave it out", param_hint=flag(name))


@contextmanager
def fitting_memory(shape: Sequence[int]) -> Iterator[None]:
    """Refuse to compute an image that does not fit into memory.

    Parameters
    ----------
    shape
        Shape of the image, from ``--shape``.
    """
    from napari_lucyd.compute.host_memory import free_host_memory

    sizes = shape_text(shape)
    remedy = "choose a smaller --shape"
    # At least two float32 arrays; any further need shows only during the computation.
    least, free = 8 * math.prod(shape), free_host_memory()
    if least > free:
        fail(
            f"{sizes} voxels need at least {least / 1e9:.3g} GB, but only {free / 1e9:.3g} GB of memory are "
            f"free: {remedy}"
        )
    try:
        yield
    except MemoryError:
        fail(f"{sizes} voxels do not fit into memory: {remedy}")


# Words of typer's library for values, and ours.
_JARGON = (
    (r"^Value error, ", ""),
    (r"^Input should be a valid number, .*", "expected a number"),
    (r"^Input should be a valid integer, .*", "expected a whole number"),
    (r"^Input should be (greater|less) than or equal to ", r"expected a number \1 than or equal to "),
)


class PlainCommand(TyperCommand):
    """A command that explains a wrong value in plain words, and a missing PyTorch."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            with options_of(parameter.name for parameter in self.params if parameter.name):
                return super().invoke(ctx)
        except ImportError as error:
            if reason := torch_reason(error):
                fail(reason)
            raise

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            for jargon, words in _JARGON:
                error.message = re.sub(jargon, words, error.message)
            if any(re.fullmatch(r"(--[\w-]+=)?-?\d*,\d+", text) for text in given):
                error.message = f"{error.message.rstrip('.')}. Write decimals with a point, such as 0.5"
            raise


def _bad(text: str, expected: str, option: str) -> typer.BadParameter:
    return typer.BadParameter(f"{text!r}: expected {expected}", param_hint=option)


def with_sections(function: Callable[..., None]) -> Callable[..., None]:
    """Turn each dataclass parameter of a command into one option for each of its fields.

    typer reads options from a function's signature. The function returned has the fields in its signature;
    when it is called, it builds the dataclasses and passes them on.

    Parameters
    ----------
    function
        The command. A dataclass has a ``title``, under which the help lists its options.
    """
    hints = get_type_hints(function, include_extras=True)
    sections: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in sections:
            parameters += _options_of(sections[name])
        else:
            parameters.append(parameter.replace(annotation=hints[name]))

    @wraps(function)
    def command(**given: Any) -> None:
        built = {
            name: section(**{entry.name: given.pop(entry.name) for entry in fields(section)})
            for name, section in sections.items()
        }
        function(**given, **built)

    # typer passes all by name, so options without a default may stand behind others.
    by_name = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    command.__signature__ = inspect.Signature(by_name)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _options_of(section: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(section, include_extras=True)
    options = []
    for entry in fields(section):
        hint = hints[entry.name]
        if get_origin(hint) is Annotated:
            get_args(hint)[1].rich_help_panel = section.title
        default = inspect.Parameter.empty if entry.default is MISSING else entry.default
        options.append(
            inspect.Parameter(entry.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
        )
    return options
