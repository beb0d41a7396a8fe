"""The classical methods as functions of one image: Richardson-Lucy and Wiener, which are told the PSF."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lucyd import checks
from napari_lucyd.compute.device import choose_device
from napari_lucyd.deconvolution.classical.methods import RichardsonLucy, Wiener, as_real
from napari_lucyd.deconvolution.classical.solvers import start
from napari_lucyd.errors import Cancelled


def richardson_lucy(
    image: Any,
    psf: Any,
    *,
    num_iter: int = 10,
    background: float = 0.0,
    total_variation: float = 0.0,
    tolerance: float | None = None,
    acceleration: bool = False,
    center_psf: bool = False,
    device: Any = "auto",
    progress: Callable[[int, int], object] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> npt.NDArray[np.float32]:
    """Richardson-Lucy deconvolution with a known PSF.

    Assumes image = object * PSF + background with Poisson noise, object >= 0, one PSF for the whole image.
    The object is estimated on the image and a margin of the PSF's size around it, as the light that came in
    from there is part of the image; the margin is cut off at the end. So nothing wraps around, borders
    neither darken nor brighten, and no voxel is made up outside the image [3]_.

    Parameters
    ----------
    image
        ([Z,] Y, X), any real dtype, no negative voxels: subtracting a camera offset leaves some, and the
        Poisson likelihood knows none. Keep the offset and name it as ``background``, or set them to 0.
    psf
        As many axes as the image, on its voxels, any size, no negative voxels; scaled to a sum of 1. Need not
        be symmetric. Its origin is the voxel ``size // 2`` along each axis, for even sizes too.
    num_iter
        Iterations; more sharpen, and amplify noise.
    background
        Constant, in units of the image, which is not part of the object, nor of the result.
    total_variation
        Weight of the total variation [4]_, 0 to 0.2: it suppresses noise and keeps edges. 0.002 is usual.
    tolerance
        Stop early when an iteration changes the object by less than this share (Euclidean norms).
    acceleration
        Start each iteration not from the last estimate but from a point farther along its way: the last
        change is continued in the logarithm with the weight (k + 1) / (k + 4) after k iterations. This
        reaches the likelihood of plain iterations in about a third of their number [5]_ [6]_; extrapolating
        in the logarithm, which keeps the estimate positive, is ours.
    center_psf
        Move the origin of the PSF to the middle voxel first and subtract a camera offset, as `RichardsonLucy`
        does.
    device
        As in `choose_device`.
    progress
        Called with (done, total) after each iteration; may end short of the total if ``tolerance`` is given.
    should_stop
        Asked before each iteration.

    Returns
    -------
    numpy.ndarray
        float32, of the image's shape, in its units, >= 0. Without total variation and background, image and
        margin together, each voxel weighted with the share of its light that falls onto the image, sum up to
        the image's sum.

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used; the message says what to do.
    Cancelled
        If ``should_stop`` says so.
    OutOfMemory, DeconvolutionError
        If the device cannot do it.

    Notes
    -----
    In the interior equal to scikit-image's function of this name with ``clip=False`` and an odd-sized PSF of
    sum 1 (its constant start of 0.5 cancels in the first iteration).

    References
    ----------
    .. [1] W. H. Richardson, J. Opt. Soc. Am. 62, 55 (1972), doi:10.1364/JOSA.62.000055
    .. [2] L. B. Lucy, The Astronomical Journal 79, 745 (1974), doi:10.1086/111605
    .. [3] M. Bertero and P. Boccacci, Astronomy & Astrophysics 437, 369 (2005),
       doi:10.1051/0004-6361:20052717
    .. [4] N. Dey et al., Microscopy Research and Technique 69, 260 (2006), doi:10.1002/jemt.20294
    .. [5] D. S. C. Biggs and M. Andrews, Applied Optics 36, 1766 (1997), doi:10.1364/AO.36.001766
    .. [6] H. Wang and P. C. Miller, IEEE Transactions on Image Processing 23, 848 (2014),
       doi:10.1109/TIP.2013.2291324

    Examples
    --------
    >>> import numpy as np
    >>> from napari_lucyd.deconvolution import richardson_lucy
    >>> image = np.zeros((16, 16))
    >>> image[7:10, 7:10] = 100  # a point of 900, seen through a square PSF of 3 x 3
    >>> restored = richardson_lucy(image, np.ones((3, 3)), num_iter=50, device="cpu")
    >>> np.unravel_index(restored.argmax(), restored.shape) == (8, 8)
    True
    """
    method = RichardsonLucy(psf, num_iter, background, total_variation, tolerance, acceleration)
    for name, given in (("progress", progress), ("should_stop", should_stop)):
        checks.function(name, given)
    if checks.flag("center_psf", center_psf):
        method, _ = method.prepared()
    observed = as_real("image", image)
    method.check_shape(observed.shape)
    if observed.min() < 0:
        raise ValueError(
            "The image has negative voxels; Richardson-Lucy needs numbers >= 0. Pass np.maximum(image, 0), "
            "or leave in the offset that was subtracted."
        )
    if not observed.any():
        return observed
    restoration = start(method, observed, choose_device(device))
    for done in range(1, method.iterations + 1):
        if should_stop is not None and should_stop():
            raise Cancelled("Stopped.")
        finished = restoration.advance()
        if progress is not None:
            progress(done, method.iterations)
        if finished:
            break
    return restoration.restored()


def wiener(
    image: Any, psf: Any, *, balance: float = 0.1, center_psf: bool = False, device: Any = "auto"
) -> npt.NDArray[np.float32]:
    """Wiener deconvolution with a known PSF and a Laplacian as regularisation.

    Assumes image = object * PSF + white noise, one PSF for the whole image, and a smooth object. The image is
    continued beyond its borders by its mirror image, in which opposite sides fade into each other.

    Parameters
    ----------
    image
        ([Z,] Y, X), any real dtype.
    psf
        As many axes as the image, on its voxels, any size; scaled to a sum of 1. Need not be symmetric. Its
        origin is the voxel ``size // 2`` along each axis, for even sizes too.
    balance
        Positive; more gives smoother results. It does not depend on the image's units.
    center_psf
        Move the origin of the PSF to the middle voxel first and subtract a camera offset, as `Wiener` does.
    device
        As in `choose_device`.

    Returns
    -------
    numpy.ndarray
        float32, of the image's shape, in its units; may be negative beside bright objects.

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used; the message says what to do.
    OutOfMemory, DeconvolutionError
        If the device cannot do it.

    Notes
    -----
    In the interior equal to scikit-image's function of this name with ``clip=False`` and a PSF of sum 1 [1]_.

    References
    ----------
    .. [1] F. Orieux, J.-F. Giovannelli and T. Rodet, J. Opt. Soc. Am. A 27, 1593 (2010),
       doi:10.1364/JOSAA.27.001593

    Examples
    --------
    >>> import numpy as np
    >>> from napari_lucyd.deconvolution import wiener
    >>> image = np.zeros((16, 16))
    >>> image[7:10, 7:10] = 100
    >>> restored = wiener(image, np.ones((3, 3)), balance=0.01, device="cpu")
    >>> np.unravel_index(restored.argmax(), restored.shape) == (8, 8)
    True
    """
    method = Wiener(psf, balance)
    if checks.flag("center_psf", center_psf):
        method, _ = method.prepared()
    observed = as_real("image", image)
    method.check_shape(observed.shape)
    restoration = start(method, observed, choose_device(device))
    restoration.advance()
    return restoration.restored()
