"""File names of strangers have no effect on the terminal or window that shows them."""

from __future__ import annotations

import pytest

from napari_lucyd.text import printable


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Zellen µm – 細胞 (1).tif", "Zellen µm – 細胞 (1).tif"),
        ("a\x1b]0;title\x07.tif", r"a\x1b]0;title\x07.tif"),
        ("two\nlines\r.tif", r"two\nlines\r.tif"),
        ("exe\u202eftt.tif", r"exe\u202eftt.tif"),
        ("\x9b31m", r"\x9b31m"),
        (b"caf\xe9.tif".decode("utf-8", "surrogateescape"), r"caf\xe9.tif"),
        ("no\u00a0break", "no\u00a0break"),
    ],
)
def test_what_a_terminal_acts_on_is_shown_as_an_escape(name, shown):
    assert printable(name) == shown
    assert printable(name).encode("utf-8")
