"""Choice of a network model: a shipped one, or one from a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox, PushButton
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QFileDialog, QWidget
from superqt.utils import create_worker

from napari_lucyd._napari.deconvolve.parameters import LUCYD, METHODS, Parameters, default_model
from napari_lucyd._napari.layers.results import PART_NAMES
from napari_lucyd._napari.widgets.fields import choose, label, tooltip
from napari_lucyd._napari.widgets.layout import (
    add,
    fixed,
    inner_form,
    note,
    plain_tooltip,
    row,
    set_note,
    show_row,
)
from napari_lucyd._napari.widgets.long_entries import narrow
from napari_lucyd._napari.workers import torch_loading
from napari_lucyd._napari.workers.events import explain
from napari_lucyd.models.catalogue import (
    DEFAULT_MODEL,
    NETWORK_TITLES,
    PACKAGE,
    is_told,
    list_models,
    network_type,
)
from napari_lucyd.text import percent_text

_SCALINGS = [
    ("As the model was trained", "model"),
    ("Minimum to maximum", "minmax"),
    ("Robust percentiles", "percentile"),
    ("None (already 0 to 1)", "none"),
]
_ISOTROPIC = [
    ("Automatic", "auto"),
    ("Always resample Z", "on"),
    ("Never", "off"),
]
_IS_ISOTROPIC = {"auto": None, "on": True, "off": False}
_MODEL_FILES = "Models (*.safetensors *.pth *.pt *.zip *.yaml);;All files (*)"
_PACKAGE_FILES = "Packages (*.zip rdf.yaml bioimageio.yaml);;All files (*)"
NO_PACKAGE = "Press File… to load a bioimage.io package."


class ModelChoice(QWidget):
    """Offers the shipped models and those loaded from files, for the network that is the method.

    Until the user chooses a model, the model fits the image: the 2D one for a single plane. The choice is
    remembered for each network.

    Parameters
    ----------
    method
        The list of methods; a file may add its network to it.
    """

    changed = Signal()
    training_wanted = Signal()
    """The user wants a model that is trained for the microscope."""
    told = Signal(str)
    failed = Signal(str)

    def __init__(self, method: ComboBox) -> None:
        super().__init__()
        self._method = method
        self.combo = ComboBox(choices=[], tooltip=tooltip(Parameters, "model"))
        self.browse = PushButton(
            text="File…",
            tooltip="Load a model file: .safetensors, .pth of LUCYD's authors, or a .zip from bioimage.io.",
        )
        self.train = PushButton(
            text="Train for this microscope…",
            tooltip="Train a model for the blur under Microscope and the noise of the image, in minutes.",
        )
        self.about = note("lucyd-about")
        self.normalization = ComboBox(
            choices=_SCALINGS, value="model", tooltip=tooltip(Parameters, "normalization")
        )
        self.isotropic = ComboBox(choices=_ISOTROPIC, value="auto", tooltip=tooltip(Parameters, "isotropic"))
        fixed(self.browse.native)
        for combo in (self.combo, self.normalization, self.isotropic):
            narrow(combo.native)
        self._rows = inner_form(self)
        add(self._rows, label(Parameters, "model"), row(self.combo.native, self.browse.native))
        add(self._rows, "", self.about)
        add(self._rows, "", self.train.native)
        add(self._rows, label(Parameters, "normalization"), self.normalization.native)
        add(self._rows, label(Parameters, "isotropic"), self.isotropic.native)
        self._cards = {str(card["name"]): card for card in list_models()}
        self._files: dict[str, str] = {}
        # The file to be chosen once it is loaded: the last one, unless another model was chosen meanwhile.
        self._wanted: str | None = None
        self._network, self._ndim = LUCYD, 3
        self._chosen: dict[str, str] = {}  # by the user, for each network
        self._filling = False
        method.changed.connect(self._on_method)
        self.combo.changed.connect(self._on_chosen)
        self.browse.changed.connect(self.ask)
        self.train.changed.connect(self._on_train)
        for control in (self.normalization, self.isotropic):
            control.changed.connect(self._on_setting)
        self._fill()

    def parameters(self) -> dict[str, Any]:
        """Return the settings of the network, by field of `Parameters`.

        Raises
        ------
        ValueError
            If the network is that of a package, and no package is loaded.
        """
        if not self.name:
            raise ValueError(NO_PACKAGE)
        return {
            "model": self.name,
            "normalization": self.normalization.value,
            "isotropic": _IS_ISOTROPIC[self.isotropic.value],
        }

    def entries(self) -> dict[str, Any]:
        """Return what is entered, for `enter`; no model if the user has chosen none."""
        return {
            "model": self._chosen.get(self._network, ""),
            "normalization": self.normalization.value,
            "isotropic": self.isotropic.value,
        }

    def enter(self, entries: Mapping[str, Any]) -> None:
        """Enter values by name; a model from a file is loaded in the background."""
        name = entries.get("model")
        if name in self._cards:
            self._chosen[network_type(self._cards[name])] = name
            self._set(name)
        elif name and Path(name).is_file():
            # A method without models that was entered stays.
            self.load(name, choose_network=entries.get("method", LUCYD) in NETWORK_TITLES)
        choose(self.normalization, entries.get("normalization"))
        choose(self.isotropic, entries.get("isotropic"))

    @property
    def name(self) -> str:
        """Name of a shipped model, or path of a file; empty for a package that is not loaded yet."""
        return str(self.combo.value or ("" if self._method.value == PACKAGE else DEFAULT_MODEL))

    @property
    def uses_microscope(self) -> bool:
        """True if the model is told the blur."""
        return is_told(self._card) or bool(self._card.get("told"))

    @property
    def parts(self) -> tuple[str, ...]:
        """Outputs of the model; all of LUCYD until it is loaded."""
        model = torch_loading.loaded_model(self.name)
        if model is not None:
            return tuple(model.parts)
        if not self.name:
            return ("output",)
        return tuple(name for name in PART_NAMES if name != "first_estimate" or self.uses_microscope)

    @property
    def dimension(self) -> int:
        """Number of spatial axes of the model."""
        return int(self._card.get("network", {}).get("dimension", 3))

    @property
    def _card(self) -> dict[str, Any]:
        """Card of the model; empty for a file that is not loaded yet."""
        model = torch_loading.loaded_model(self.name)
        return self._cards.get(self.name) or (dict(model.card) if model else {})

    def suit(self, ndim: int) -> None:
        """Choose the model that fits an image with this number of axes, unless the user has chosen one."""
        self._ndim = ndim
        self._set(self._chosen.get(self._network, default_model(ndim)))

    def describe(self) -> None:
        """Show the purpose of the model; for a file, once it is loaded."""
        card = self._card
        text = model_text(card) if self.name else NO_PACKAGE
        set_note(self.about, text)
        self.about.setToolTip(plain_tooltip(str(card.get("description", ""))))
        show_row(self._rows, self.about, bool(text))
        show_row(self._rows, self.train.native, is_told(card))

    def add_own(self, name: str) -> None:
        """List a new model of the user, and choose it."""
        self._cards = {str(card["name"]): card for card in list_models()}
        self._fill()
        if name in self.combo.choices:
            self.combo.value = name

    def ask(self, *_: Any) -> None:
        """Ask for a model file and load it."""
        kinds = _PACKAGE_FILES if self._network == PACKAGE else _MODEL_FILES
        path, _kind = QFileDialog.getOpenFileName(self, "Load a model file", "", kinds)
        if path:
            self.load(path)

    def load(self, path: str | Path, *, choose_network: bool = True) -> None:
        """Load a file in the background, then choose it; report a file that is not a model.

        Parameters
        ----------
        path
            The file.
        choose_network
            True to choose the model's network as the method, too.
        """
        self._wanted = str(path)
        self.told.emit(f"Loading {Path(path).name}…")
        worker = create_worker(_load, str(path), choose_network, _start_thread=False)
        worker.returned.connect(self._on_loaded)
        worker.start()

    def _fill(self) -> None:
        choices = [
            (model_label(card), name)
            for name, card in self._cards.items()
            if network_type(card) == self._network
        ]
        choices += [(Path(path).name, path) for path, kind in self._files.items() if kind == self._network]
        before = self.combo.value
        self._filling = True
        self.combo.choices = choices
        values = [value for _, value in choices]
        if values:
            self.combo.value = before if before in values else values[0]
        self._filling = False
        self.describe()

    def _set(self, name: str) -> None:
        if name in self.combo.choices:
            self._filling = True
            self.combo.value = name
            self._filling = False
            self.describe()

    @property
    def default(self) -> str:
        """Name of the model that fits the image, whatever the user has chosen."""
        return default_model(self._ndim)

    def _on_method(self, method: str) -> None:
        if method in NETWORK_TITLES and method != self._network:
            self._network = method
            self._fill()
            self.suit(self._ndim)

    def _on_chosen(self, *_: Any) -> None:
        if not self._filling:
            self._wanted = None
            self._chosen[self._network] = self.name
            self.describe()
            self.changed.emit()

    def _on_train(self, *_: Any) -> None:
        self.training_wanted.emit()

    def _on_setting(self, *_: Any) -> None:
        self.changed.emit()

    def _on_loaded(self, loaded: tuple[str, bool, str]) -> None:
        path, choose_network, error = loaded
        if error:
            self.failed.emit(error)
            return
        model = torch_loading.loaded_model(path)
        assert model is not None
        kind = self._files[path] = network_type(model.card)
        self._fill()
        if kind not in self._method.choices:
            self._method.choices = [(NETWORK_TITLES[kind], kind), *METHODS]
        if path != self._wanted:
            return
        if choose_network:
            self._method.value = kind
        self._chosen[kind] = path
        self._set(path)
        self.told.emit(f"Loaded {Path(path).name}.")
        self.changed.emit()


def _load(path: str, choose_network: bool) -> tuple[str, bool, str]:
    try:
        torch_loading.load()
        torch_loading.get_model(path)
    except Exception as error:  # reported in the panel, whatever it is
        return path, choose_network, explain(error)
    return path, choose_network, ""


def model_label(card: dict[str, Any]) -> str:
    """Return the label of a shipped model; the name comes first, so that the list is easy to scan."""
    dimension = card.get("network", {}).get("dimension", 3)
    return f"{card['name']} ({dimension}D)"


def model_text(card: dict[str, Any]) -> str:
    """Describe the purpose of a model: its title and the images that it was trained on."""
    blur, noise = card.get("blur_sigma_voxels"), card.get("noise_sigma")
    if not (blur and noise):
        return str(card.get("description", ""))
    # One number if the model was trained for one blur only.
    width = " to ".join(dict.fromkeys(f"{end:.3g}" for end in blur))
    parts = [
        f"{card['title']}." if card.get("title") else "",
        f"For a blur of σ {width} voxels and noise up to {percent_text(noise[1])} of the range.",
        "Changes total intensity: do not quantify." if card.get("flux_kept") is False else "",
    ]
    return " ".join(part for part in parts if part)
