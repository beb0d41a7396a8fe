"""Units of length: every unit of the OME schema, in every spelling that files hold."""

from __future__ import annotations

import pytest

from napari_lucyd.io.units import canonical_unit, common_unit, micrometers, unit_label, unit_symbol

# Symbol in the OME schema (UnitsLength, 2016-06), its length in metres.
OME_LENGTHS = {
    **{"Ym": 1e24, "Zm": 1e21, "Em": 1e18, "Pm": 1e15, "Tm": 1e12, "Gm": 1e9, "Mm": 1e6, "km": 1e3},
    **{"hm": 100, "dam": 10, "m": 1, "dm": 0.1, "cm": 1e-2, "mm": 1e-3, "µm": 1e-6, "nm": 1e-9},
    **{"pm": 1e-12, "fm": 1e-15, "am": 1e-18, "zm": 1e-21, "ym": 1e-24, "Å": 1e-10},
    **{"thou": 25.4e-6, "li": 0.0254 / 12, "in": 0.0254, "ft": 0.3048, "yd": 0.9144, "mi": 1609.344},
    **{"ua": 149597870700.0, "ly": 9460730472580800.0, "pc": 3.0856775814913673e16, "pt": 0.0254 / 72},
}


@pytest.mark.parametrize(("symbol", "metres"), OME_LENGTHS.items())
def test_every_length_of_the_ome_schema_is_known(symbol, metres):
    assert micrometers(symbol) == pytest.approx(metres * 1e6, rel=1e-12)
    assert unit_symbol(symbol) == symbol
    sizes, unit = common_unit([2.0, 3.0], [symbol, symbol])
    assert [size * micrometers(unit) for size in sizes] == pytest.approx([2e6 * metres, 3e6 * metres])


@pytest.mark.parametrize("unit", ["pixel", "pixels", "reference frame", "", "arbitrary", None])
def test_what_is_no_length_is_none(unit):
    assert (canonical_unit(unit), unit_symbol(unit), micrometers(unit)) == (None, None, None)
    assert common_unit([2.0, 1.0], [unit, unit]) == ((2.0, 1.0), None)


@pytest.mark.parametrize(
    "text",
    [
        "µm",
        "\u03bcm",
        "um",
        "UM",
        "micron",
        "Microns",
        "micrometre",
        "micrometers",
        "\\u00B5m",
        "\\u00b5m",
        "\\u03BCm",
        "µm".encode().decode("latin-1"),
        "\u03bcm".encode().decode("latin-1"),
        "\u03bcm".encode().decode("cp1252"),
        "µm".encode("latin-1").decode("utf-8", "replace"),
        "µm".encode().decode("mac_roman"),
        "µm".encode().decode("cp437"),
        "µm".encode().decode("gb18030"),
        "µm".encode().decode("latin-1").encode().decode("latin-1"),
        "µm".encode().decode("cp1252").encode().decode("cp1252"),
        "\ufffdm".encode().decode("cp1252"),
        " µm\x00\x00",
    ],
)
def test_a_micrometre_is_known_in_every_spelling_and_every_wrong_encoding(text):
    assert canonical_unit(text) == "micrometer"
    assert unit_symbol(text) == "\u00b5m"


@pytest.mark.parametrize("text", ["Å", "\u212b", "A", "angstroms", "Å".encode().decode("latin-1"), "\\u00C5"])
def test_an_angstrom_is_known_in_every_spelling(text):
    assert canonical_unit(text) == "angstrom"


def test_symbols_that_differ_by_case_alone_are_told_apart():
    assert [canonical_unit(text) for text in ("Mm", "mm", "MM", "Pm", "pm", "NM")] == [
        "megameter",
        "millimeter",
        "millimeter",
        "petameter",
        "picometer",
        "nanometer",
    ]


def test_a_negative_step_keeps_its_length():
    assert common_unit([-0.3, 0.1, 0.1], ["µm"] * 3) == ((0.3, 0.1, 0.1), "micrometer")
    assert common_unit([-300.0, 0.1, 0.1], ["nm", "µm", "µm"]) == (
        (pytest.approx(0.3), 0.1, 0.1),
        "micrometer",
    )


def test_units_without_a_name_in_ome_zarr_become_micrometres():
    assert common_unit([1.0, 1.0], ["thou", "thou"]) == (pytest.approx((25.4, 25.4)), "micrometer")
    assert common_unit([1.0, 1.0], ["mil", "in"]) == (pytest.approx((0.001, 1.0)), "inch")


def test_pint_s_symbol_for_a_micrometre_is_one_label_whichever_version_wrote_it():
    assert unit_label("\u03bcm") == unit_label("\u00b5m") == "\u00b5m"
    assert (unit_label("nm"), unit_label("px"), unit_label("\u03bcs")) == ("nm", "px", "\u00b5s")
