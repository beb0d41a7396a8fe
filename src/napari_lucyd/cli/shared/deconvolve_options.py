"""Options of ``lucyd deconvolve``, by the sections of its help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from napari_lucyd.cli.shared.option_types import (
    FileFormat,
    Method,
    Modality,
    Normalization,
    Precision,
    StoredDtype,
    auto_or_count,
    auto_or_number,
    numbers,
    parts,
    voxel_steps,
    whole_numbers,
)
from napari_lucyd.cli.shared.words import flag, in_options
from napari_lucyd.deconvolution.result import Part


@dataclass(frozen=True)
class FileOptions:
    """Results: where they go, which parts, in which format."""

    title: ClassVar[str] = "Files"

    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            metavar="OUT",
            help="A file for one input (its suffix chooses the format), a folder for several.",
            show_default=False,
        ),
    ]
    intermediates: Annotated[
        bool,
        typer.Option(
            "--intermediates",
            help="Also write NAME_correction_mask, NAME_update_term, NAME_intermediate and "
            "NAME_first_estimate for each output, if the network has them.",
        ),
    ] = False
    outputs: Annotated[
        str, typer.Option(metavar="PART,...", help=f"Parts to write, some of: {', '.join(Part)}.")
    ] = "output"
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing results.")] = False
    file_format: Annotated[
        FileFormat | None,
        typer.Option(
            "--format",
            help="Format of results in a folder. Default: OME-Zarr for Zarr inputs, OME-TIFF for all others.",
            show_default=False,
        ),
    ] = None
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also score the result without a truth, and write FILE.html and its data as FILE.json. "
            "For several inputs a folder. Not for results in OME-Zarr.",
            show_default=False,
        ),
    ] = None
    dtype: Annotated[
        StoredDtype,
        typer.Option(help="uint16 halves the file size; the scaling is written into the file."),
    ] = StoredDtype.float32

    def wanted(self) -> tuple[Part, ...]:
        """Return the parts to write."""
        return tuple(Part) if self.intermediates else parts(self.outputs, "--outputs")

    def suffix(self) -> str | None:
        """Return the suffix of results in a folder, with its dot; None for the one of the input's kind."""
        return f".{self.file_format}" if self.file_format else None


@dataclass(frozen=True)
class MethodOptions:
    """The method."""

    title: ClassVar[str] = "Method"

    method: Annotated[
        Method | None,
        typer.Option(
            help="A network, a classical method with a PSF, or auto: the method that explains held-out "
            "photons of a sample best, or the image left alone. Default: the network of the model.",
            show_default=False,
        ),
    ] = None


@dataclass(frozen=True)
class MicroscopeOptions:
    """The microscope that took the image, or the width of its blur."""

    title: ClassVar[str] = "Microscope, for lucyd and the classical methods"

    microscope: Annotated[
        Modality | None,
        typer.Option(
            help="Kind of microscope; needs --na, --refractive-index and --emission-um. Default: the blur is "
            "found in the image.",
            show_default=False,
        ),
    ] = None
    numerical_aperture: Annotated[
        float | None,
        typer.Option(
            "--numerical-aperture",
            "--na",
            metavar="NA",
            help="Numerical aperture of the objective.",
            show_default=False,
        ),
    ] = None
    refractive_index: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Refractive index of the immersion: 1.0 air, 1.33 water, 1.515 oil.",
            show_default=False,
        ),
    ] = None
    emission_um: Annotated[
        str | None,
        typer.Option(
            metavar="UM[,UM…]",
            help="Wavelength of the detected light in µm; one for all channels, or one for each.",
            show_default=False,
        ),
    ] = None
    excitation_um: Annotated[
        str | None,
        typer.Option(
            metavar="UM[,UM…]",
            help="Confocal: wavelength of the laser in µm; one for all channels, or one for each.",
            show_default=False,
        ),
    ] = None
    pinhole_airy: Annotated[
        float | None,
        typer.Option(metavar="AU", help="Confocal: diameter of the pinhole in Airy units.", show_default="1"),
    ] = None
    sheet_fwhm_um: Annotated[
        float | None,
        typer.Option(metavar="UM", help="Light sheet: full width at half maximum in µm.", show_default=False),
    ] = None
    sample_index: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Refractive index of the specimen, if it differs from the immersion's; needs --depth-um.",
            show_default=False,
        ),
    ] = None
    depth_um: Annotated[
        float | None,
        typer.Option(
            metavar="UM", help="Depth of the focus below the cover glass in µm.", show_default=False
        ),
    ] = None
    psf_size: Annotated[
        str | None,
        typer.Option(
            metavar="N|Z,Y,X",
            help="Size of the microscope's PSF in voxels, odd numbers. Default: nearly all of its light.",
            show_default=False,
        ),
    ] = None
    blur_sigma: Annotated[
        str | None,
        typer.Option(
            metavar="SIGMA|Z,Y,X",
            help="In place of a microscope: standard deviation of a Gaussian blur in voxels.",
            show_default=False,
        ),
    ] = None

    def told(self) -> dict[str, Any]:
        """Return what is known of the blur as keywords of `napari_lucyd.deconvolution.plan`.

        Raises
        ------
        typer.BadParameter
            If options are missing, invalid or without effect.
        """
        optics = {name: getattr(self, name) for name in OPTICS}
        given = {name: value for name, value in optics.items() if value is not None}
        if self.microscope is None:
            for name in given:
                raise typer.BadParameter(
                    "it describes a microscope; add --microscope widefield, confocal or light-sheet",
                    param_hint=flag(name),
                )
            if self.blur_sigma is None:
                return {}
            sigmas = numbers(self.blur_sigma, "--blur-sigma")
            return {"blur_sigma": sigmas[0] if len(sigmas) == 1 else sigmas}
        if self.blur_sigma is not None:
            raise typer.BadParameter("--microscope says it already; leave it out", param_hint="--blur-sigma")
        for name in ("numerical_aperture", "refractive_index", "emission_um"):
            if name not in given:
                raise typer.BadParameter(f"--microscope needs {flag(name)}", param_hint="--microscope")
        return {"microscope": _microscopes(str(self.microscope), given)}


OPTICS = (
    "numerical_aperture",
    "refractive_index",
    "emission_um",
    "excitation_um",
    "pinhole_airy",
    "sheet_fwhm_um",
    "sample_index",
    "depth_um",
    "psf_size",
)


def _microscopes(modality: str, given: dict[str, Any]) -> Any:
    """Make the microscope, or a list with one for each channel if there are several wavelengths."""
    from napari_lucyd.simulation import Microscope

    wavelengths: dict[str, tuple[float, ...]] = {
        name: numbers(given[name], flag(name)) for name in ("emission_um", "excitation_um") if name in given
    }
    if "psf_size" in given:
        sizes = whole_numbers(given["psf_size"], "--psf-size")
        given = {**given, "psf_size": sizes * 3 if len(sizes) == 1 else sizes}
    count = max(len(values) for values in wavelengths.values())
    for name, values in wavelengths.items():
        if len(values) not in (1, count):
            raise typer.BadParameter(f"give one wavelength, or {count}", param_hint=flag(name))

    def of_channel(number: int) -> dict[str, Any]:
        mine = {name: values[min(number, len(values) - 1)] for name, values in wavelengths.items()}
        return {**given, **mine}

    try:
        found = [Microscope(modality, **of_channel(number)) for number in range(count)]  # type: ignore[arg-type]
    except ValueError as error:
        raise typer.BadParameter(in_options(str(error)), param_hint="--microscope") from None
    return found if count > 1 else found[0]


@dataclass(frozen=True)
class ClassicalOptions:
    """The PSF and the numbers of the classical methods."""

    title: ClassVar[str] = "Richardson-Lucy and Wiener"

    psf: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Image of the PSF (see: lucyd psf), also for lucyd. For a PSF of each channel, give a file "
            "with an axis C, or the option once for each channel.",
            show_default=False,
        ),
    ] = None
    num_iter: Annotated[
        str,
        typer.Option(
            metavar="N",
            help="Richardson-Lucy: number of iterations, or auto: chosen by photons held out. "
            "More iterations sharpen, and amplify noise.",
        ),
    ] = "auto"
    total_variation: Annotated[
        float,
        typer.Option(metavar="W", help="Richardson-Lucy: weight of the noise suppression; 0.002 is usual."),
    ] = 0.0
    background: Annotated[
        str,
        typer.Option(
            metavar="B",
            help="Richardson-Lucy: constant background in units of the image; it is removed from the result. "
            "auto: found in the image, and kept in the result.",
        ),
    ] = "auto"
    local_stopping: Annotated[
        bool,
        typer.Option(
            "--local-stopping",
            help="Richardson-Lucy: stop the iterations voxel by voxel, where they would fit noise.",
        ),
    ] = False
    balance: Annotated[
        float, typer.Option(metavar="B", help="Wiener: larger values give smoother results.")
    ] = 0.1

    def numbers(self) -> dict[str, Any]:
        """Return the numbers by their Python names; each method takes its own."""
        return {
            "num_iter": auto_or_count(self.num_iter, "--num-iter"),
            "total_variation": self.total_variation,
            "background": auto_or_number(self.background, "--background", "a number"),
            "local_stopping": self.local_stopping,
            "balance": self.balance,
        }


@dataclass(frozen=True)
class NetworkOptions:
    """The model of a network, and how the image is scaled for it."""

    title: ClassVar[str] = "LUCYD"

    model: Annotated[
        str | None,
        typer.Option(
            "-m",
            "--model",
            help="A shipped model (see: lucyd models), a file of weights (.safetensors, .pth) or a "
            "bioimage.io package (.zip). Default: lucyd (planes: lucyd-planes), or the first model of "
            "--method.",
            show_default=False,
        ),
    ] = None
    normalization: Annotated[
        Normalization, typer.Option(help="How intensities are scaled for the network.")
    ] = Normalization.model
    separate: Annotated[
        str,
        typer.Option(
            metavar="AXES",
            help="Axes along which each entry is scaled by itself: C, T, CT, or none to scale all together.",
        ),
    ] = "C"
    isotropic: Annotated[
        bool | None,
        typer.Option(
            "--isotropic/--no-isotropic",
            help="Resample along Z to cubic voxels and back. Default: if voxel sizes differ by 25 % or more.",
            show_default=False,
        ),
    ] = None


@dataclass(frozen=True)
class StepOptions:
    """Optional steps before and around any method."""

    title: ClassVar[str] = "Optional steps, for any method"

    subtract_background: Annotated[
        str | None,
        typer.Option(
            metavar="auto|SIZE",
            help="Subtract a smooth background first. Bright objects narrower than SIZE voxels stay.",
            show_default=False,
        ),
    ] = None
    prefilter: Annotated[
        str | None,
        typer.Option(
            metavar="auto|SIGMA",
            help="Smooth first with a Gaussian of SIGMA voxels; auto chooses it from the noise of the image.",
            show_default=False,
        ),
    ] = None
    flips: Annotated[
        bool,
        typer.Option(
            "--flips",
            help="Average the output over all mirror images: less noise, 8 times the time (planes: 4 times).",
        ),
    ] = False

    def arguments(self) -> dict[str, Any]:
        """Return keywords of `napari_lucyd.deconvolution.plan`."""
        return {
            "subtract_background": auto_or_number(self.subtract_background, "--subtract-background"),
            "prefilter": auto_or_number(self.prefilter, "--prefilter"),
            "flips": self.flips,
        }


@dataclass(frozen=True)
class ImageOptions:
    """Corrections of what the file says."""

    title: ClassVar[str] = "Image"

    axes: Annotated[
        str | None,
        typer.Option(
            help="The axes of the image, such as TZYX, if the file says otherwise (see: lucyd info FILE).",
            show_default=False,
        ),
    ] = None
    voxel_size: Annotated[
        str | None,
        typer.Option(
            metavar="Z,Y,X",
            help="Voxel size in µm, if the file does not say it or is wrong.",
            show_default=False,
        ),
    ] = None

    def steps(self) -> tuple[float, ...] | None:
        """Return the voxel size in µm, or None."""
        return voxel_steps(self.voxel_size, "--voxel-size") if self.voxel_size else None


@dataclass(frozen=True)
class ComputerOptions:
    """The device, its memory, and processes."""

    title: ClassVar[str] = "Memory and speed"

    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto"
    tile_shape: Annotated[
        str | None,
        typer.Option(
            metavar="Z,Y,X",
            help="Tile size in voxels. Default: as memory allows. The result does not depend on it.",
            show_default=False,
        ),
    ] = None
    halo: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Margin in voxels that is read around each tile. Default: the reach of the network, so that "
            "tiles leave no seams.",
            show_default=False,
        ),
    ] = None
    precision: Annotated[
        Precision,
        typer.Option(help="float16 computes in half precision on a CUDA device, if the model allows it."),
    ] = Precision.float32
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Number of processes on this machine that share the work on each OME-Zarr result.",
            show_default=False,
        ),
    ] = None
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Address of a dask.distributed cluster that shares the work on each OME-Zarr result.",
            show_default=False,
        ),
    ] = None


def network_arguments(network: NetworkOptions, computer: ComputerOptions) -> dict[str, Any]:
    """Return the keywords of `napari_lucyd.deconvolution.plan` that only networks take."""
    return {
        "tile_shape": whole_numbers(computer.tile_shape, "--tile-shape") if computer.tile_shape else None,
        "halo": computer.halo,
        "precision": str(computer.precision),
        "normalization": str(network.normalization),
        "isotropic": network.isotropic,
        "separate": "" if network.separate.lower() == "none" else network.separate,
    }
