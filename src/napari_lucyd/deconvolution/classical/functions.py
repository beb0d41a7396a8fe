"""The classical methods as functions of one image and a PSF: Richardson-Lucy and Wiener."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lucyd import checks
from napari_lucyd.compute.device import choose_device
from napari_lucyd.deconvolution.classical.automatic import halves_of, photons_of
from napari_lucyd.deconvolution.classical.methods import AUTO, RichardsonLucy, Wiener
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
    local_stopping: bool = False,
    center_psf: bool = False,
    device: Any = "auto",
    progress: Callable[[int, int], object] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> npt.NDArray[np.float32]:
    """Richardson-Lucy deconvolution with a known PSF.

    Assumes image = object * PSF + background with Poisson noise, object >= 0, one PSF for the whole image.
    The object is estimated on the image and on a margin of the PSF's size around it, because light from the
    margin reaches the image. The margin is cut off at the end. So nothing wraps around, borders become
    neither darker nor brighter, and no image values are assumed outside the image [3]_.

    Parameters
    ----------
    image
        ([Z,] Y, X), any real dtype, no negative voxels: they have no Poisson likelihood. Subtracting a camera
        offset makes some; keep the offset and give it as ``background``, or set them to 0.
    psf
        PSF with as many axes as the image, on its voxels, of any size, without negative voxels. It is scaled
        to a sum of 1 and need not be symmetric. Its origin is the voxel ``size // 2`` along each axis, also
        for even sizes.
    num_iter
        Number of iterations; more of them sharpen, and amplify noise.
    background
        Constant in units of the image that is part of neither the object nor the result.
    total_variation
        Weight of the total variation [4]_, 0 to 0.2: it suppresses noise and keeps edges. 0.002 is usual.
    tolerance
        Stop early when an iteration changes the object by less than this share (Euclidean norms).
    acceleration
        True to extrapolate: each iteration starts from a point beyond the last estimate [5]_ [6]_. The last
        change is continued in the logarithm with the weight (k + 1) / (k + 4) after k iterations. This
        reaches the likelihood of 42 or more plain iterations with a third of their number. That of 20 to 41
        plain iterations takes half of their number, because the first steps are short. Extrapolating in the
        logarithm keeps the estimate positive; this is not in those papers.
    local_stopping
        True to stop the iterations voxel by voxel by gradient consensus [7]_. In each iteration the photons
        of the image are divided at random into two halves, which give the updates u1 and u2. A voxel keeps
        its value where Hᵀ H [(u1 - 1) (u2 - 1)] < 0, with H the convolution with the PSF. There, the halves
        disagree whether it becomes brighter or darker. So the number of iterations matters little, but an
        image with many photons is sharper without it. Needs an image with photon noise, in which the photons
        are counted; the same image always gives the same result. An iteration takes about four times as long.
    center_psf
        True to move the origin of the PSF to the middle voxel first and subtract a camera offset, as
        `RichardsonLucy` does.
    device
        Device; see `choose_device`.
    progress
        Function that is called with (done, total) after each iteration. With ``tolerance`` it may not reach
        the total.
    should_stop
        Function that is called before each iteration; True stops.

    Returns
    -------
    numpy.ndarray
        Restored image, float32, of the image's shape, in its units, >= 0. Weight each voxel of image and
        margin with the share of its light that falls onto the image: without total variation and background,
        their sum is then the sum of the image.

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used; the message says what to do.
    Cancelled
        If ``should_stop`` returns True.
    OutOfMemory, DeconvolutionError
        If the device cannot do it.

    Notes
    -----
    In the interior, the result equals that of scikit-image's function of this name with ``clip=False`` and an
    odd-sized PSF of sum 1. (The constant start of 0.5 there cancels in the first iteration.)

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
    .. [7] J. Manton and A. York, gradient consensus (2023), https://zenodo.org/records/10278919

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
    method = RichardsonLucy(
        psf, num_iter, background, total_variation, tolerance, acceleration, local_stopping
    )
    for name, number in (("num_iter", method.num_iter), ("background", method.background)):
        if number == AUTO:
            raise ValueError(
                f"{name} is 'auto', but this function needs a number. To have it found in the image, use "
                f"deconvolve(image, RichardsonLucy(psf, {name}='auto'))."
            )
    for name, given in (("progress", progress), ("should_stop", should_stop)):
        checks.function(name, given)
    if checks.flag("center_psf", center_psf):
        method, _ = method.prepared()
    observed = checks.float_array("The image", image)
    method.check_shape(observed.shape)
    if observed.min() < 0:
        raise ValueError(
            "The image has negative voxels, but Richardson-Lucy needs numbers >= 0. Pass "
            "np.maximum(image, 0), or do not subtract the camera offset and give it as background."
        )
    if not observed.any():
        return observed
    halves = None
    if method.local_stopping:
        noise = photons_of(observed)
        if isinstance(noise, str):
            raise ValueError(f"local_stopping cannot be used: {noise} Leave it out.")
        halves = halves_of(observed, noise)
    restoration = start(method, observed, choose_device(device), halves=halves)
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

    Assumes image = object * PSF + white noise, one PSF for the whole image, and a smooth object. Beyond its
    borders the image is continued by its mirror images, which fade from one side into the opposite one.

    Parameters
    ----------
    image
        ([Z,] Y, X), any real dtype.
    psf
        PSF with as many axes as the image, on its voxels, of any size. It is scaled to a sum of 1 and need
        not be symmetric. Its origin is the voxel ``size // 2`` along each axis, also for even sizes.
    balance
        Weight of the smoothing, above 0; larger values give smoother results. It does not depend on the
        image's units.
    center_psf
        True to move the origin of the PSF to the middle voxel first and subtract a camera offset, as `Wiener`
        does.
    device
        Device; see `choose_device`.

    Returns
    -------
    numpy.ndarray
        Restored image, float32, of the image's shape, in its units. It may be negative beside bright objects.

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used; the message says what to do.
    OutOfMemory, DeconvolutionError
        If the device cannot do it.

    Notes
    -----
    In the interior, the result equals that of scikit-image's function of this name with ``clip=False`` and a
    PSF of sum 1 [1]_.

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
    observed = checks.float_array("The image", image)
    method.check_shape(observed.shape)
    restoration = start(method, observed, choose_device(device))
    restoration.advance()
    return restoration.restored()
