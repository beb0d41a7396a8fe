"""The public functions `deconvolve` and `plan`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

from napari_lucyd import checks
from napari_lucyd.compute.device import choose_device, cpu
from napari_lucyd.deconvolution.arguments import (
    RunArguments,
    check_flips,
    check_halo,
    check_isotropic,
    check_outputs,
    check_region,
    check_statistics,
    check_tile_shape,
    check_voxel_size,
    voxel_warnings,
)
from napari_lucyd.deconvolution.classical.job import (
    ClassicalJob,
    check_classical_outputs,
    check_whole_volumes,
)
from napari_lucyd.deconvolution.classical.methods import ClassicalMethod
from napari_lucyd.deconvolution.findings import SETTINGS, Findings
from napari_lucyd.deconvolution.first_stage.blur import Blur, check_blur
from napari_lucyd.deconvolution.first_stage.job import FirstStageJob
from napari_lucyd.deconvolution.image.axes import Axes
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.job import Job
from napari_lucyd.deconvolution.learned.job import NetworkJob
from napari_lucyd.deconvolution.method_choice import AUTOMATIC, MethodChoice
from napari_lucyd.deconvolution.named_model import model_for, takes_sigma, told_package
from napari_lucyd.deconvolution.options import ArrayOptions, RunOptions, complete, list_options
from napari_lucyd.deconvolution.preprocessing.preparation import check_preparation
from napari_lucyd.deconvolution.result import Progress, Request, Result
from napari_lucyd.deconvolution.statistics.scaling import resolve_normalization, separate_axes
from napari_lucyd.deconvolution.tiling.geometry import Geometry
from napari_lucyd.deconvolution.tiling.resampling import choose_resampling
from napari_lucyd.models.normalization import FIRST_ESTIMATE, Normalization

# Classical methods scale nothing, but the statistics find constant images, NaNs and saturation.
EXTREMES = Normalization("minmax")

NO_FLIPS = "flips has no effect on {}, which is run once. It is for networks."

# Parts returned by default, where the network has them.
DEFAULT_OUTPUTS = ("output", "correction_mask", "update_term")


@list_options(ArrayOptions)
def deconvolve(
    volume: Any,
    model: Any,
    *,
    progress: Callable[[Progress], object] | None = None,
    **options: Unpack[ArrayOptions],
) -> Result:
    """Deconvolve an image.

    Parameters
    ----------
    volume
        (…, Z, Y, X), or (…, Y, X) for a 2D model: a numpy, dask, zarr or xarray array of real numbers, in any
        units; in another order with ``axes``. It is read tile by tile. Volumes along leading axes (T, C) are
        processed one after another. From a list of resolutions, the highest, which comes first, is processed.
    model
        ``"auto"``, which has the methods compete on a sample of the image, and leaves the image alone if none
        helps (see `choose_method`); ``"lucyd"``, which is the default model of volumes or of planes, as the
        image is; the name of another shipped model; a model from `load_model`; or a classical method:
        `RichardsonLucy` or `Wiener` with a PSF, or with one for each channel, or `SemiBlind`. A classical
        method works in the units and voxels of the image, so ``halo`` and ``normalization`` do not apply. A
        PSF with another voxel size is resampled if both are known.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
    tile_shape
        Voxels of a tile along (Z,) Y, X, rounded up to a multiple of 2 (4 for CARE). By default the free
        memory decides. The result does not depend on it.
    halo
        Margin around a tile, in voxels; by default the network's whole receptive field. A smaller margin may
        leave seams.
    normalization
        ``"model"`` (as in training), ``"minmax"``, ``"percentile"``, ``"standard"``, ``"none"``, or a mapping
        or object with ``method``, ``low`` and ``high``.
    voxel_size
        Voxel size along (Z, Y, X), in any one unit.
    microscope
        The `Microscope` that took the image, or a list with one for each channel; needs ``voxel_size`` in µm.
        For models that are told the blur, such as ``"lucyd"``: a few Richardson-Lucy iterations with the PSF
        come first, as many as the noise allows, and the network works on their estimate. If neither
        ``microscope`` nor ``psf`` nor ``blur_sigma`` is given, a Gaussian blur is found in the image.
    psf
        The PSF in place of a microscope: an array along (Z, Y, X) or (Y, X), of any size, or a list with one
        for each channel. It is centred, and resampled if ``psf_voxel_size`` differs from ``voxel_size``.
    psf_voxel_size
        Voxel size of the PSF, in the unit of ``voxel_size``; by default the image's.
    blur_sigma
        Standard deviation of a Gaussian blur in voxels, in place of a PSF: one number, or one for each axis.
    outputs
        Parts to return: ``"output"``, ``"correction_mask"``, ``"update_term"``, ``"intermediate"``,
        ``"first_estimate"``. By default the first three, where the network has them. RLN has an output and
        an intermediate; CARE and the classical methods have only an output. A first estimate is what a model
        that is told the blur works on.
    progress
        Function that receives a `Progress` after each tile, or after each iteration of a classical method.
    isotropic
        True to resample along Z to isotropic voxels for the network, and back. By default this happens if
        ``voxel_size`` is given and the Z step differs from the lateral one by more than a quarter.
    prefilter
        Smooth the image first. Give the standard deviation of a Gaussian, in voxels of Y and X. Or give
        ``"auto"``, which reduces the noise to a level that the method handles well, and leaves an image with
        little noise as it is. If ``voxel_size`` is given, the Gaussian has the same physical length along Z.
    subtract_background
        Subtract a smooth background first; it is not added to the output. Give the size, in voxels of Y and
        X, above which bright structure counts as background (at least 16; along Z as for ``prefilter``), or
        ``"auto"`` for a quarter of the shorter of Y and X, but at least 64. Voxels may become negative.
    flips
        True to average the output over all mirror images, which takes 8 times as long (4 times for planes).
        The output is then the only part. It has no effect on classical methods, whose results mirroring does
        not change.
    precision
        ``"float32"``, or ``"float16"`` for half precision on a CUDA device, in the layers that tolerate it.
        The model's card must say that this changes the output by at most 0.002 of the range; otherwise
        float32 is used and a warning says why.
    axes
        One letter for each axis in the order of the array, e.g. ``"TCZYX"`` or ``"XYZ"``. By default the
        array's own names or its shape decide.
    separate
        Leading axes whose indices are normalised separately.
    region
        Slices along the spatial axes, or along all axes, in the order of the array. Only this part is
        computed; its values equal those of a run on the whole image.
    statistics
        Result of ``Job.measure()`` for the same input, which is then not measured again.
    allocate
        Function that receives the name and shape of a part and returns a float32 array to write it into, such
        as a memory map or a zarr array. By default all results are numpy arrays in memory.

    Returns
    -------
    Result
        float32 arrays of the input's shape, or the region's, with the recipe.

    Raises
    ------
    TypeError, ValueError
        If the input or an argument is invalid; the message says what to do.
    OutOfMemory, DeconvolutionError
        If the run fails.

    Examples
    --------
    >>> import numpy as np, napari_lucyd as nl
    >>> image = np.random.default_rng(0).random((8, 16, 16), dtype=np.float32)
    >>> result = nl.deconvolve(image, nl.load_model("general"), device="cpu")
    >>> result.output.shape, result.output.dtype
    ((8, 16, 16), dtype('float32'))
    """
    checks.function("progress", progress)
    job = plan(volume, model, **options)
    for step in job.steps():
        if progress is not None:
            progress(step)
    return job.result()


@list_options(ArrayOptions)
def plan(volume: Any, model: Any, *, processes: int = 1, **options: Unpack[ArrayOptions]) -> Job:
    """Check and plan a run, without reading a voxel or running the network.

    Parameters and errors are those of `deconvolve`. With ``"auto"``, a sample of the image is read, and
    methods are tried on it; ``Job.choice`` tells how it was decided.

    Parameters
    ----------
    processes
        Number of such runs that share the machine's memory.

    Returns
    -------
    Job
        The planned run: axes, device, tiles, memory and warnings. ``steps()`` runs it.
    """
    wish = complete(options)
    choice = chosen_for(volume, model, options)
    if choice is not None:
        wish = complete(choice.options(options))
        model = choice.method
    model = told_package(model_for(model, volume, wish["axes"]), wish["blur_sigma"])
    processes = checks.integer("processes", processes, least=1)
    source = Source(volume, model.dimension, wish["axes"])
    source.refuse_mask()
    axes = source.axes
    classical = isinstance(model, ClassicalMethod)
    steps = check_voxel_size(wish["voxel_size"], axes)
    lead_spans, spans = check_region(wish["region"], axes)
    flips = check_flips(wish["flips"], wish["outputs"])
    isotropic = check_isotropic(wish["isotropic"])
    precision = checks.choice("precision", wish["precision"], ("float32", "float16"))
    preparation = check_preparation(
        wish["prefilter"], wish["subtract_background"], steps, {} if classical else model.card
    )
    device = choose_device(wish["device"])
    if not classical and model.network.cpu_only and device.kind != "cpu":
        device = cpu("" if wish["device"] == "auto" else f"{model.network.title} models run on the CPU only")
    warnings = Findings()
    blur = _told_blur(wish, model, axes, steps)
    if classical:
        model.check_shape(axes.volume_shape)
        model.check_channels(axes.size("C") if "C" in axes.leading else 1)
        check_whole_volumes(
            model, wish["tile_shape"], wish["halo"], wish["normalization"], isotropic, precision
        )
        scaling, geometry = EXTREMES, Geometry(axes.volume_shape, halo=0)
        outputs = check_classical_outputs(wish["outputs"], model)
        if flips:
            warnings.add(NO_FLIPS.format(model.title), SETTINGS)
    else:
        scaling = resolve_normalization(wish["normalization"], model.normalization)
        outputs = _network_outputs(wish["outputs"], model, flips)
        # First estimates are made on the image's own voxels, and so was the training on them.
        wanted = False if blur is not None and isotropic is None else isotropic
        resampling = choose_resampling(
            steps, wanted, axes.size("Z"), model.dimension == 3 and "Z" in axes.names
        )
        halo = check_halo(wish["halo"], model.network, warnings)
        network = model.network
        geometry = Geometry(axes.volume_shape, halo, resampling, network.multiple, flips, network.border)
        if blur is None:
            warnings.extend(voxel_warnings(steps, resampling is not None, axes))
    if device.reason:
        warnings.add(f"{device.name} is used: {device.reason}.", SETTINGS)
    tile_shape = wish["tile_shape"]
    arguments = RunArguments(
        axes=axes,
        geometry=geometry,
        outputs=outputs,
        normalization=scaling,
        separate=separate_axes(wish["separate"], axes.leading),
        voxel_size=steps,
        lead_spans=lead_spans,
        spans=spans,
        region_given=wish["region"] is not None,
        tile_shape_given=tile_shape is not None,
        halo_given=wish["halo"] is not None,
        flips=flips,
        precision=precision,
        preparation=preparation,
        allocate=checks.function("allocate", wish["allocate"]),
    )
    statistics = wish["statistics"]
    if statistics is not None:
        check_statistics(statistics, arguments)
        warnings.extend(statistics.warnings)
    tile = None
    if tile_shape is not None:
        multiple = 1 if classical else geometry.multiple
        tile = check_tile_shape(tile_shape, spans, geometry.resampling is not None, multiple)
    job: Job
    if classical:
        job = ClassicalJob(source, model, device, arguments, statistics, warnings, tile, processes)
    elif blur is not None:
        job = FirstStageJob(source, model, device, arguments, tile, statistics, warnings, processes, blur)
    else:
        job = NetworkJob(source, model, device, arguments, tile, statistics, warnings, processes)
    given = {name: value for name, value in options.items() if name not in ("statistics", "allocate")}
    job.request = Request(model, given if choice is None else choice.options(given))
    if choice is not None:
        job.choice = choice
        if choice.warning:
            job.warnings.add(choice.warning)
    return job


def chosen_for(volume: Any, model: Any, options: RunOptions) -> MethodChoice | None:
    """Return the choice of a method for an image, if one is asked for.

    Parameters
    ----------
    volume
        The image.
    model
        A model as for `deconvolve`: for ``"auto"`` the choice is made, a `MethodChoice` is returned as it is,
        and for all others the result is None.
    options
        Options of the run as given.
    """
    if isinstance(model, MethodChoice):
        return model
    if not isinstance(model, str) or model != AUTOMATIC:
        return None
    # The referee runs methods itself, so it stands above this room and is only reached when it is needed.
    from napari_lucyd.referee.contest import choose_method

    names = ("axes", "voxel_size", "microscope", "psf", "psf_voxel_size", "blur_sigma", "device")
    wish: dict[str, Any] = {name: value for name, value in options.items() if name in names}
    return choose_method(volume, **wish)


def _told_blur(wish: ArrayOptions, model: Any, axes: Axes, steps: tuple[float, ...] | None) -> Blur | None:
    """Return the blur for a model that works on first estimates; None for other methods, which take none."""
    told = {
        "microscope": wish["microscope"],
        "psf": wish["psf"],
        "psf_voxel_size": wish["psf_voxel_size"],
        "blur_sigma": None if takes_sigma(model) else wish["blur_sigma"],
    }
    if not isinstance(model, ClassicalMethod) and model.normalization.method == FIRST_ESTIMATE:
        return check_blur(**told, axes=axes, steps=steps)
    for name, value in told.items():
        if value is None:
            continue
        if isinstance(model, ClassicalMethod):
            raise ValueError(f"{name} is given, but {model.title} has its own PSF; leave {name} out.")
        raise ValueError(
            f"{name} is given, but the model {model.name} does not use the blur; leave {name} out, or "
            "choose 'lucyd'."
        )
    return None


def _network_outputs(outputs: Any, model: Any, flips: bool) -> tuple[str, ...]:
    if outputs is None:
        outputs = [name for name in DEFAULT_OUTPUTS if name in model.parts and not flips] or ["output"]
    return check_outputs(outputs, model.parts, f" of {model.network.title}")
