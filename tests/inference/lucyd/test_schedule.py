"""Order of the planes, and the planes that are kept: integers only."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_lucyd.inference.lucyd.graph import LAYERS, RESULTS
from napari_lucyd.inference.lucyd.schedule import equivalent_voxels, needed, reads, ring_sizes, schedule
from napari_lucyd.spans import Span

HALVES = {layer.name for layer in LAYERS if layer.half}


@st.composite
def parts(draw):
    """Planes of a block, the requested ones, and the number to compute at a time."""
    size = 2 * draw(st.integers(1, 40))
    start = draw(st.integers(0, size - 1))
    return size, Span(start, draw(st.integers(start + 1, size))), draw(st.integers(1, 50))


def end(name, size):
    return size // 2 if name in HALVES else size


@settings(max_examples=60)
@given(parts())
def test_each_plane_is_computed_once_after_what_it_needs(part):
    size, wanted, at_once = part
    done = {layer.name: set() for layer in LAYERS}
    for layer, planes in schedule(LAYERS, RESULTS, wanted, size, at_once):
        for name, span in reads(layer, planes).items():
            inside = set(range(max(span.start, 0), min(span.stop, end(name, size))))
            assert name == "y" or inside <= done[name]
        assert not done[layer.name] & set(range(*planes))
        done[layer.name] |= set(range(*planes))
    for name in RESULTS:
        assert done[name] == set(range(*wanted))
    for name, span in needed(LAYERS, dict.fromkeys(RESULTS, wanted), size).items():
        assert name == "y" or done[name] == set(range(*span))


@settings(max_examples=60)
@given(parts())
def test_no_plane_is_overwritten_that_is_still_to_be_read(part):
    size, wanted, at_once = part
    steps = schedule(LAYERS, RESULTS, wanted, size, at_once)
    sizes = ring_sizes(steps)
    homes = {layer.name: layer.kept_in for layer in LAYERS}
    held = {}  # (buffer, place): the tensor and the plane that lie there
    for layer, planes in steps:
        for name, span in reads(layer, planes).items():
            if name != "y":
                for plane in range(max(span.start, 0), min(span.stop, end(name, size))):
                    assert held[homes[name], plane % sizes[homes[name]]] == (name, plane)
        for plane in range(*planes):
            held[homes[layer.name], plane % sizes[homes[layer.name]]] = (layer.name, plane)


def test_what_is_kept_does_not_grow_with_the_stack():
    def kept(size):
        return ring_sizes(schedule(LAYERS, RESULTS, Span(0, size), size, 2))

    assert kept(100) == kept(1000) and max(kept(100).values()) <= 24


def test_the_network_sees_as_far_as_it_says():
    for plane, reach in ((100, (-24, 22)), (101, (-23, 23))):
        span = needed(LAYERS, dict.fromkeys(RESULTS, Span(plane, plane + 1)), 200)["y"]
        assert (span.start - plane, span.stop - 1 - plane) == reach


@pytest.mark.parametrize("axes", [2, 3])
def test_the_work_of_a_margin_is_between_none_and_all_of_it(axes):
    assert equivalent_voxels([[(64, Span(0, 64))]] * axes) == pytest.approx(64**axes)
    with_margin = equivalent_voxels([[(112, Span(24, 88))]] * axes)
    assert 1.3 * 64**axes < with_margin < 0.8 * 112**axes
    three = [[(112, Span(24, 88))] * 3, *[[(112, Span(24, 88))]] * (axes - 1)]
    assert equivalent_voxels(three) == pytest.approx(3 * with_margin)
