"""Choice of layers in the Compare panel, as a user makes it."""

from __future__ import annotations


def choose_layers(panel, layers, truth=None):
    """Tick these layers and no others, and choose the ground truth."""
    for layer in panel.chosen.ticked():
        panel.form.layers.ticked.emit(layer, False)
    panel.form.truth.value = truth
    for layer in layers:
        panel.form.layers.ticked.emit(layer, True)
