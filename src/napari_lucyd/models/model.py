"""Loading and saving models: safetensors with a JSON card, and the authors' checkpoints."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from napari_lucyd import checks
from napari_lucyd.checks import shown
from napari_lucyd.models.authors_checkpoint import convert
from napari_lucyd.models.card import check_card, check_network, parse_json
from napari_lucyd.models.catalogue import DEFAULT_MODEL, is_told, shipped_models
from napari_lucyd.models.normalization import Normalization
from napari_lucyd.models.packages.contents import is_package
from napari_lucyd.models.user_models import user_model_files
from napari_lucyd.networks import Network, NetworkConfig, config_class, describe, network_class
from napari_lucyd.text import bytes_text

_PICKLES = (".pth", ".pt")
# The metadata entry that makes a safetensors file complete without its card, and the card's entries in it.
_ENTRY = "napari-lucyd"
_DESCRIBED = ("network", "normalization")
# Largest model file in bytes, packed or unpacked; the networks that exist need less than a tenth of it.
_LARGEST_FILE = 64_000_000


@dataclass(frozen=True)
class Model:
    """A network with its card.

    Parameters
    ----------
    name
        Short name, used in layer and file names.
    network
        Network in evaluation mode, on the CPU, float32.
    card
        Description of the model and its training, as plain JSON data.
    sha256
        SHA-256 of the file it was loaded from, or of its weights.
    """

    name: str
    network: Network
    card: dict[str, Any]
    sha256: str

    @property
    def dimension(self) -> int:
        """Number of spatial axes: 2 for planes, 3 for volumes."""
        return self.network.config.dimension

    @property
    def normalization(self) -> Normalization:
        """Scaling that this model needs for its input."""
        return Normalization(**self.card.get("normalization", {"method": "percentile"}))

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts that it gives: those of its network, and the first estimate if it works on one."""
        return (*self.network.parts, "first_estimate") if is_told(self.card) else self.network.parts

    @classmethod
    def from_network(
        cls,
        network: Network,
        *,
        name: str,
        normalization: Mapping[str, Any] | None = None,
        card: Mapping[str, Any] | None = None,
    ) -> Model:
        """Make a model from a network in memory, such as one just trained.

        Parameters
        ----------
        network
            Network, which is put into evaluation mode and moved to the CPU.
        name
            Name of the model.
        normalization
            Keywords of `Normalization`; by default those of the card, else percentiles 0.1 and 99.9.
        card
            Further entries of the card.
        """
        network = network.cpu().float().eval()
        if card is not None and not isinstance(card, Mapping):
            raise TypeError(f"card is {shown(card)}; give a dict of JSON data, or None.")
        entries = dict(card or {})
        check_card(entries)
        scaling = entries.get("normalization") if normalization is None else normalization
        complete = {
            **entries,
            "name": name,
            "network": describe(network.config),
            "normalization": asdict(_make_normalization(scaling)),
        }
        return cls(name, network, complete, hashlib.sha256(_serialise(network, complete)).hexdigest())


def load_model(model: str | Path = DEFAULT_MODEL) -> Model:
    """Load a shipped model or one of the user's by its name, or a file by its path.

    Parameters
    ----------
    model
        A name from `list_models`, or the path of a ``.safetensors`` file that `save_model` wrote, of a
        ``.pth`` file of LUCYD's authors (2D or 3D), or of a bioimage.io package with ONNX weights: its
        ``.zip`` file, its folder or its ``rdf.yaml``. Code in a file is never run.

    Returns
    -------
    Model
        The model, on the CPU, in evaluation mode.

    Raises
    ------
    FileNotFoundError
        If there is no model and no file of that name.
    ValueError
        If the file is not a model, or a package needs something that is not known here; the message says why.
    ImportError
        If it is a package, and onnx and onnxruntime are not installed.

    Examples
    --------
    >>> import napari_lucyd as nl
    >>> nl.load_model("general").dimension
    3
    """
    file_or_name = checks.path("model", model)
    shipped = {str(card["name"]): card for card in shipped_models()}
    if str(model) in shipped:
        file = resources.files("napari_lucyd.models").joinpath(f"{model}.safetensors")
        return _from_safetensors(file.read_bytes(), str(model), shipped[str(model)])
    own = user_model_files()
    path = own.get(str(model), file_or_name)
    if is_package(path):
        from napari_lucyd.models.packages.loading import load_package

        return load_package(path)
    if not path.is_file():
        mine = f", nor one of yours ({', '.join(own)})" if own else ""
        raise FileNotFoundError(
            f"There is no model {str(model)!r}: it is neither a file nor a shipped model "
            f"({', '.join(shipped)}){mine}."
        )
    if path.suffix in _PICKLES:
        return _from_checkpoint(path)
    if path.suffix != ".safetensors":
        raise ValueError(
            f"{path.name} is not a model file. Choose a .safetensors file, a .pth file of LUCYD's authors, "
            "or a bioimage.io package (.zip)."
        )
    side = path.with_suffix(".json")
    return _from_safetensors(_read_file(path), path.stem, _read_card(side) if side.is_file() else None)


def save_model(
    path: str | Path,
    network: Network,
    *,
    normalization: Mapping[str, Any] | None = None,
    card: Mapping[str, Any] | None = None,
    half_precision: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write a network as ``.safetensors``, with its card as ``.json`` beside it.

    The safetensors file also holds the configuration and the normalisation, so it can be loaded alone.

    Parameters
    ----------
    path
        Path that ends in ``.safetensors``; its stem becomes the model's name.
    network
        Network to save.
    normalization, card
        See `Model.from_network`.
    half_precision
        True to round the weights to float16. The file is half as large, and the output differs by about 1e-3
        of the range. The loaded weights are float32 in any case.
    overwrite
        True to replace existing files.

    Returns
    -------
    Path
        Path of the file.

    Raises
    ------
    ValueError
        If the path has another suffix.
    TypeError
        If the card holds data that JSON cannot.
    FileExistsError
        If the file or its card exists and `overwrite` is False.
    ImageFileError
        If a file cannot be written, for example because the disk is full; nothing unfinished is left.

    Examples
    --------
    >>> import napari_lucyd as nl
    >>> model = nl.load_model("general")
    >>> nl.save_model("copy.safetensors", model.network, card=model.card).name
    'copy.safetensors'
    """
    path = checks.path("path", path)
    if not isinstance(network, Network):
        raise TypeError(f"network is {shown(network)}; give a network of napari_lucyd.networks.")
    half_precision = checks.flag("half_precision", half_precision)
    overwrite = checks.flag("overwrite", overwrite)
    if path.suffix != ".safetensors":
        raise ValueError(f"{path.name}: the name of a model file must end in .safetensors.")
    side = path.with_suffix(".json")
    for file in () if overwrite else (path, side):
        if file.exists():
            raise FileExistsError(f"{file} exists already. Choose another name, or allow overwriting.")
    model = Model.from_network(network, name=path.stem, normalization=normalization, card=card)
    data = _serialise(model.network, model.card, half_precision)
    text = json.dumps({**model.card, "sha256": hashlib.sha256(data).hexdigest()}, indent=2)
    from napari_lucyd.io.atomic import replacing  # not needed to load a model

    for file, content in ((path, data), (side, f"{text}\n".encode())):
        with replacing(file, overwrite=True) as unfinished:
            unfinished.write_bytes(content)
    return path


def _make_normalization(keywords: Any) -> Normalization:
    if keywords is None:
        return Normalization()
    known = [field.name for field in fields(Normalization)]
    if not isinstance(keywords, Mapping) or any(name not in known for name in keywords):
        raise TypeError(f"normalization is {shown(keywords)}; give a dict with {', '.join(known)}, or None.")
    return Normalization(**keywords)


def _read_file(path: Path) -> bytes:
    size = path.stat().st_size
    if size > _LARGEST_FILE:
        raise ValueError(
            f"{path.name} is not a model file: it has {bytes_text(size)}, and models have at most "
            f"{bytes_text(_LARGEST_FILE)}."
        )
    return path.read_bytes()


def _read_card(path: Path) -> dict[str, Any]:
    try:
        card = parse_json(_read_file(path).decode("utf-8"))
    except ValueError as error:  # also for bytes that are not text
        raise ValueError(
            f"{path.name}, the card beside the weights, is not JSON ({error}). Remove or restore it."
        ) from error
    if not isinstance(card, dict):
        raise ValueError(f"{path.name} holds {shown(card)} instead of a card. Remove or restore it.")
    try:
        check_card(card)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}. Remove or restore the card.") from error
    return card


def _serialise(network: Network, card: Mapping[str, Any], half_precision: bool = False) -> bytes:
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    if half_precision:
        state = {name: t.half() if t.is_floating_point() else t for name, t in state.items()}
    # One entry: safetensors writes several in an order that changes, and the file's hash with it.
    return save(state, metadata={_ENTRY: json.dumps({key: card[key] for key in _DESCRIBED})})


def _from_safetensors(data: bytes, name: str, card: dict[str, Any] | None) -> Model:
    try:
        state = load(data)
        length = int.from_bytes(data[:8], "little")
        metadata = parse_json(data[8 : 8 + length]).get("__metadata__", {})
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{name}: the file is damaged, or not a safetensors file ({error}).") from error
    if _ENTRY not in metadata:
        raise ValueError(
            f"{name}: the file has no configuration of napari-lucyd, so it is not a model. Save the network "
            "with napari_lucyd.models.save_model."
        )
    try:
        entry = parse_json(metadata[_ENTRY])
        described = {key: dict(entry[key]) for key in _DESCRIBED}
        entries = dict(described["network"])
        check_network(entries)
        config = config_class(entries.pop("type", None))(**entries)
        Normalization(**described["normalization"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{name}: this version cannot build the network from its description in the file "
            f"({type(error).__name__}: {error})."
        ) from error
    network = _build(config)
    try:
        check_tensors(state)
        network.load_state_dict(state)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{name}: the weights do not fit the network: {error}") from error
    digest = hashlib.sha256(data).hexdigest()
    if card and card.get("sha256", digest) != digest:
        raise ValueError(
            f"{name}: the card beside the file belongs to other weights (its SHA-256 is "
            f"{card['sha256']!s:.12}…, the file's {digest[:12]}…). Remove the card or restore the file."
        )
    complete = {**(card or {}), "name": name, **described}
    return Model(name, network.eval(), complete, digest)


def _build(config: NetworkConfig) -> Network:
    """Build a network on the processor in float32, whatever torch's default device and type are."""
    with torch.device("cpu"):
        return network_class(config)(config).float()


def _from_checkpoint(path: Path) -> Model:
    data = _read_file(path)
    if (size := _unpacked_bytes(data)) > _LARGEST_FILE:
        raise ValueError(
            f"{path.name} is not a model file: it unpacks to {bytes_text(size)}, and models have at most "
            f"{bytes_text(_LARGEST_FILE)}."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks on kinds of tensors that are refused below
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    # A damaged file makes torch raise nearly any error; its text on a pickle says how to run the code in it.
    except Exception as error:
        raise ValueError(
            f"{path.name} is not a model file: it is damaged, or holds other objects than weights "
            f"({type(error).__name__}). Code in a file is never run. Save `network.state_dict()`."
        ) from error
    plain = isinstance(state, dict) and all(isinstance(value, torch.Tensor) for value in state.values())
    if not plain or not all(isinstance(key, str) for key in state):
        raise ValueError(
            f"{path.name} holds {type(state).__name__}, not the plain table of weights that LUCYD's "
            "authors publish. Save `network.state_dict()`."
        )
    try:
        check_tensors(state)
        network = convert(state)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
    digest = hashlib.sha256(data).hexdigest()
    card = {
        "name": path.stem,
        "title": "Imported checkpoint",
        "description": "Weights in the authors' format; their training is not known to this software.",
        "network": describe(network.config),
        # The authors scale their test inputs by the extremes.
        "normalization": asdict(Normalization("minmax")),
    }
    return Model(path.stem, network, card, digest)


def _unpacked_bytes(data: bytes) -> int:
    """Return the size of a zip file's contents; 0 for other files."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return 0


def check_tensors(state: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are not plain arrays of numbers in memory.

    Raises
    ------
    ValueError
        If a tensor is sparse, quantized, nested, complex or without data.
    """
    for name, tensor in state.items():
        if tensor.layout != torch.strided or tensor.is_nested:
            kind = "sparse or nested"
        elif tensor.device.type != "cpu":
            kind = f"without data ({tensor.device.type})"
        elif tensor.is_quantized or tensor.is_complex():
            kind = str(tensor.dtype)
        else:
            continue
        raise ValueError(f"the weights {name:.80} are {kind}; plain numbers are needed.")
