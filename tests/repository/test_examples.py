"""Each script in examples/ runs, and does what it says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from napari_lucyd import make_phantom
from napari_lucyd.io import read_image, write_image

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str):
    specification = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def stack() -> np.ndarray:
    image = make_phantom((20, 40, 44), spheres=5, ellipsoids=2, boxes=8, rng=2).image
    return image.round().astype(np.uint16)


def test_deconvolve_a_stack_keeps_axes_and_voxel_size(tmp_path, stack, capsys):
    source, target = tmp_path / "stack.tif", tmp_path / "restored.ome.tif"
    write_image(source, stack, axes="ZYX", voxel_size=(0.1, 0.1, 0.1), unit="micrometer")
    example("deconvolve_a_stack").main(str(source), str(target))
    restored = read_image(target)
    assert restored.axes == "ZYX"
    assert restored.voxel_size == pytest.approx((0.1, 0.1, 0.1))
    assert restored.data.shape == stack.shape
    # In the units of the input, and changed.
    assert np.median(restored.data) == pytest.approx(np.median(stack), rel=0.5)
    assert not np.allclose(restored.data, stack)
    assert "restored.ome.tif" in capsys.readouterr().out


def test_compare_with_the_truth_gains():
    before, after = example("compare_with_the_truth").main(size=48)
    assert after > before + 1


def test_read_the_parts_finds_the_formula_to_hold():
    assert example("read_the_parts").main() < 1e-5


def test_region_of_a_large_stack_equals_the_whole(tmp_path, stack, capsys):
    source = tmp_path / "stack.ome.zarr"
    write_image(source, stack, axes="ZYX", voxel_size=None, unit=None)
    part, whole = example("region_of_a_large_stack").main(str(source))
    assert part.shape == (10, 20, 22)
    assert whole.shape == stack.shape
    assert "equal: True" in capsys.readouterr().out


def test_every_example_is_tested():
    tested = Path(__file__).read_text("utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert f'example("{path.stem}")' in tested
