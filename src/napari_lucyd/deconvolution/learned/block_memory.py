"""Device memory of a block, and the tile shape that fits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from napari_lucyd.compute.device import FIXED_BYTES, Device
from napari_lucyd.deconvolution.tiling.geometry import Geometry
from napari_lucyd.deconvolution.tiling.tiles import choose_tile_shape
from napari_lucyd.networks.network import Network
from napari_lucyd.spans import Span, floor_to

# Bytes for each voxel on devices with blocks launched ahead: the next input, and the four parts of the last.
_AHEAD_BYTES = {"cuda": 20}
# Share of the free memory that a run may use; the rest is for other programs.
_SHARE = 0.6


class _MemoryCost(NamedTuple):
    """The memory that a network needs for a block.

    Attributes
    ----------
    voxel_bytes
        Peak memory for each voxel, in bytes. Measured by benchmarks/block_memory.py with torch 2.13 on two
        CPU threads, as the slope from the smallest to the largest block: LUCYD 222 (3D) and 232 (2D), RLN
        340, CARE 769. LUCYD's compiled kernels keep only some planes of each layer: 36 in 3D, plus 16 for
        reading the block and 4 for a copy that a ceiling cuts; 292 and 4 in 2D. Those of CARE keep all, 598,
        and up to 698 in small blocks. On CUDA they keep all planes, in buffers of 90 with zeros around each;
        the rest is for the block, for its results, and for the zeros of small buffers.
    cpu_voxels
        Voxels of the largest block on the CPU. Larger blocks save little halo and cost memory (LUCYD with
        torch 1.5 GB, with compiled kernels up to 1.8 GB, CARE 2.6 and 4.7 GB). With torch they also delay a
        cancel, which takes effect between layers: a tile takes some seconds.
    gpu_voxels
        Voxels of the largest block on a GPU: its widest layer at full size (12, 16 and 64 channels) must be
        indexed with 31 bits. With compiled kernels halos cost little, and one block is read while another is
        computed.
    """

    voxel_bytes: int
    cpu_voxels: int
    gpu_voxels: int = 0


_MEMORY_COSTS = {
    "lucyd": _MemoryCost(240, 3 * 2**21, 2**27),
    "lucyd, compiled": _MemoryCost(56, 2**25),
    "lucyd, compiled, planes": _MemoryCost(314, 2**23),
    "lucyd, compiled, CUDA": _MemoryCost(154, 0, 2**25),
    "rln": _MemoryCost(370, 3 * 2**21, 2**26),
    # The width is unknown; this is a little more than a U-Net with 64 channels needs.
    "onnx": _MemoryCost(1000, 3 * 2**20),
    "care": _MemoryCost(830, 3 * 2**20, 2**24),
    "care, compiled": _MemoryCost(750, 3 * 2**21),
}


def memory_cost(network: Network, device: Device) -> str:
    """Return the key of a network's memory cost on a device: its name and the way it is computed."""
    if not device.compiled:
        return network.name
    if device.kind == "cuda":
        return f"{network.name}, compiled, CUDA"
    return f"{network.name}, compiled{', planes' if network.config.dimension == 2 else ''}"


def working_bytes(block_voxels: int, network: str, kind: str) -> int:
    """Return the bytes that a network (see `memory_cost`) needs for a block on a device of ``kind``."""
    return FIXED_BYTES + _voxel_bytes(network, kind) * block_voxels


def _voxel_bytes(network: str, kind: str) -> int:
    return _MEMORY_COSTS[network].voxel_bytes + _AHEAD_BYTES.get(kind, 0)


def largest_block(free_bytes: int, kind: str, network: str) -> int:
    """Return the voxels of the largest block for a device of ``kind`` with ``free_bytes`` of memory."""
    found = _MEMORY_COSTS[network]
    fits = int((_SHARE * free_bytes - FIXED_BYTES) / _voxel_bytes(network, kind))
    return max(0, min(fits, found.cpu_voxels if kind == "cpu" else found.gpu_voxels))


def automatic_tile_shape(
    geometry: Geometry, spans: Sequence[Span], free_bytes: int, kind: str, network: str
) -> tuple[int, ...]:
    """Choose the tile shape for a region: a pure function of its arguments.

    Parameters
    ----------
    geometry
        Halo, resampling and multiple.
    spans
        Region, in voxels of the source.
    free_bytes
        Free memory of the device, minus the results if they lie there.
    kind
        Kind of device: ``"cpu"``, ``"cuda"``, ``"mps"``.
    network
        Key from `memory_cost`: ``"lucyd"``, ``"lucyd, compiled"``, ``"rln"`` and so on.

    Returns
    -------
    tuple of int
        Tile shape in voxels of the source.

    Examples
    --------
    >>> geometry = Geometry((64, 256, 256), halo=24)
    >>> automatic_tile_shape(geometry, [Span(0, n) for n in geometry.shape], 8 * 2**30, "cpu", "lucyd")
    (64, 256, 128)
    """
    most = largest_block(free_bytes, kind, network)
    resampling = geometry.resampling
    extents = None
    if geometry.border is not None:
        extents = [geometry.extent_along(axis).size for axis in range(len(spans))]
    # Tiles are counted from the multiple at or below the start; otherwise a region that starts between two
    # would be cut at its end.
    sizes = [span.stop - floor_to(span.start, geometry.multiple) for span in spans]
    if resampling is None:
        return choose_tile_shape(sizes, geometry.halo, most, geometry.multiple, extents)
    planes = resampling.needed_planes(spans[0]).size
    tile = choose_tile_shape((planes, *sizes[1:]), geometry.halo, most, geometry.multiple, extents)
    # Convert to planes of the source; a single tile along Z stays single.
    kept = sizes[0] if tile[0] >= planes else max(1, int(tile[0] / resampling.factor))
    return (kept, *tile[1:])
