"""Layout of the panels: tooltips show texts of files and layers as they are."""

import pytest

pytest.importorskip("napari")

from qtpy.QtGui import QTextDocument

from napari_lucyd._napari.widgets.layout import plain_tooltip

pytestmark = pytest.mark.napari


@pytest.mark.parametrize("text", ["plain", "<b>bold</b> & <img src='x'>", "two\nlines", "a < b"])
def test_a_tooltip_shows_tags_and_lines_as_they_are(qapp, text):
    document = QTextDocument()
    document.setHtml(plain_tooltip(text))
    assert document.toPlainText() == text


def test_an_empty_text_has_no_tooltip():
    assert plain_tooltip("") == ""
