"""The panel's choice of a model: shipped, or from a file; those of the network that is the method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QFileDialog
from superqt.utils import create_worker

from napari_lucyd._napari.deconvolve.form import Form
from napari_lucyd._napari.deconvolve.parameters import LUCYD, METHODS, default_model
from napari_lucyd._napari.widgets.layout import set_note
from napari_lucyd._napari.workers import torch_loading
from napari_lucyd._napari.workers.events import explain
from napari_lucyd.models.catalogue import DEFAULT_MODEL, NETWORK_TITLES, list_models, network_type


class ModelChoice(QObject):
    """Offers the shipped models and those loaded from files.

    Until a person chooses one, the model fits the image: the 2D one for a single plane. What was chosen is
    remembered for each network.

    Parameters
    ----------
    form
        Holds the controls.
    """

    changed = Signal()
    told = Signal(str)
    failed = Signal(str)

    def __init__(self, form: Form) -> None:
        super().__init__(form)
        self.form = form
        self._cards = {str(card["name"]): card for card in list_models()}
        self._files: dict[str, str] = {}
        self._network, self._ndim = LUCYD, 3
        self._chosen: dict[str, str] = {}  # by a person, for each network
        self._filling = False
        form.method.changed.connect(self._on_method)
        form.model.changed.connect(self._on_chosen)
        form.load.changed.connect(self.ask)
        self._fill()

    @property
    def name(self) -> str:
        """A shipped name, or a path."""
        return str(self.form.model.value or DEFAULT_MODEL)

    def suit(self, ndim: int) -> None:
        """Take the model that fits an image of so many axes, unless a person has chosen one."""
        self._ndim = ndim
        self._set(self._chosen.get(self._network, default_model(ndim)))

    def describe(self) -> None:
        """Show what the model is for; of a file that is known once it is loaded."""
        model = torch_loading.loaded_model(self.name)
        card = self._cards.get(self.name) or (model.card if model else {})
        text = model_text(card)
        set_note(self.form.about, text)
        self.form.about.setToolTip(str(card.get("description", "")))
        self.form.show_row(self.form.about, bool(text))

    def ask(self, *_: Any) -> None:
        """Ask for a model file and load it."""
        path, _kind = QFileDialog.getOpenFileName(
            self.form, "Load a model", "", "Models (*.safetensors *.pth *.pt);;All files (*)"
        )
        if path:
            self.load(path)

    def load(self, path: str | Path) -> None:
        """Load a file in the background, then choose it; what is no model is told of and not listed."""
        self.told.emit(f"Loading {Path(path).name}…")
        worker = create_worker(_load, str(path), _start_thread=False)
        worker.returned.connect(self._on_loaded)
        worker.start()

    def _fill(self) -> None:
        choices = [
            (model_label(card), name)
            for name, card in self._cards.items()
            if network_type(card) == self._network
        ]
        choices += [(Path(path).name, path) for path, kind in self._files.items() if kind == self._network]
        before = self.form.model.value
        self._filling = True
        self.form.model.choices = choices
        values = [value for _, value in choices]
        if values:
            self.form.model.value = before if before in values else values[0]
        self._filling = False
        self.describe()

    def _set(self, name: str) -> None:
        if name in self.form.model.choices:
            self._filling = True
            self.form.model.value = name
            self._filling = False
            self.describe()

    def _on_method(self, method: str) -> None:
        if method in NETWORK_TITLES and method != self._network:
            self._network = method
            self._fill()
            self.suit(self._ndim)

    def _on_chosen(self, *_: Any) -> None:
        if not self._filling:
            self._chosen[self._network] = self.name
            self.describe()
            self.changed.emit()

    def _on_loaded(self, loaded: tuple[str, str]) -> None:
        path, error = loaded
        if error:
            self.failed.emit(error)
            return
        model = torch_loading.loaded_model(path)
        assert model is not None
        kind = self._files[path] = network_type(model.card)
        self._fill()
        if kind not in self.form.method.choices:
            self.form.method.choices = [(NETWORK_TITLES[kind], kind), *METHODS]
        self.form.method.value = kind
        self._chosen[kind] = path
        self._set(path)
        self.told.emit(f"Loaded {Path(path).name}.")
        self.changed.emit()


def _load(path: str) -> tuple[str, str]:
    try:
        torch_loading.load()
        torch_loading.get_model(path)
    except Exception as error:  # told of in the panel, whatever it is
        return path, explain(error)
    return path, ""


def model_label(card: dict[str, Any]) -> str:
    """A shipped model in the list of models: its name first, so that the list can be scanned."""
    dimension = card.get("network", {}).get("dimension", 3)
    return f"{card['name']} ({dimension}D)"


def model_text(card: dict[str, Any]) -> str:
    """What a model is for, in two lines: its title and the images that it was trained on."""
    blur, noise = card.get("blur_sigma_voxels"), card.get("noise_sigma")
    if not (blur and noise):
        return str(card.get("description", ""))
    # One number where one optics is all that it was trained for.
    width = " to ".join(dict.fromkeys(f"{end:g}" for end in blur))
    parts = [
        f"{card['title']}." if card.get("title") else "",
        f"For a blur of σ {width} voxels and noise up to {noise[1]:.0%} of the range.",
        "Does not keep the total intensity." if card.get("flux_kept") is False else "",
    ]
    return " ".join(part for part in parts if part)
