"""Options of ``lucyd deconvolve``, by the sections of its help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from napari_lucyd.cli._options import (
    FileFormat,
    Method,
    Normalization,
    Part,
    Precision,
    StoredDtype,
    auto_or_count,
    auto_or_number,
    numbers,
    parts,
    whole_numbers,
)


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
            help="Also write NAME_correction_mask, NAME_update_term and NAME_intermediate for each output, "
            "if the network has them.",
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
            help="A network, or a classical method with a PSF. Default: the network of the model.",
            show_default=False,
        ),
    ] = None


@dataclass(frozen=True)
class ClassicalOptions:
    """The PSF and the numbers of the classical methods."""

    title: ClassVar[str] = "Richardson-Lucy and Wiener"

    psf: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Image of the PSF with the voxel size of the input (see: lucyd psf).",
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
    balance: Annotated[
        float, typer.Option(metavar="B", help="Wiener: larger values give smoother results.")
    ] = 0.1

    def numbers(self) -> dict[str, Any]:
        """Return the numbers by their Python names; each method takes its own."""
        return {
            "num_iter": auto_or_count(self.num_iter, "--num-iter"),
            "total_variation": self.total_variation,
            "background": auto_or_number(self.background, "--background", "a number"),
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
            help="A shipped model (see: lucyd models) or a file of weights (.safetensors, .pth). Default: "
            "general, or the first model of --method.",
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
        return numbers(self.voxel_size, "--voxel-size") if self.voxel_size else None


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
        "separate": "" if network.separate.lower() == "none" else network.separate.upper(),
    }
