"""Damaged or harmful model files: one sentence that names the file, and little memory."""

from __future__ import annotations

import io
import json
import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save

import napari_lucyd as nl
from napari_lucyd.models.authors_checkpoint import key_map


def authors_state(network):
    names = key_map()
    return {names[name]: tensor for name, tensor in network.state_dict().items()}


def refusal(path) -> str:
    with pytest.raises(ValueError) as caught:
        nl.load_model(path)
    text = str(caught.value)
    assert text.startswith(path.stem) and len(text) < 500
    return text


@pytest.fixture
def saved(random_model_2d, tmp_path):
    return nl.save_model(tmp_path / "mine.safetensors", random_model_2d.network)


def change_card(path, **entries):
    side = path.with_suffix(".json")
    side.write_text(json.dumps({**json.loads(side.read_text()), **entries}))


@pytest.mark.parametrize(
    ("entries", "word"),
    [
        ({"noise_sigma": ["a", "b"]}, "noise_sigma is ['a', 'b']; it must be two increasing numbers"),
        ({"noise_sigma": 3}, "noise_sigma is 3"),
        ({"blur_sigma_voxels": [2, 1]}, "blur_sigma_voxels is [2, 1]"),
        ({"metrics": []}, "metrics is []; it must be a table"),
        ({"metrics": {"half_precision": 3}}, "metrics.half_precision is 3"),
        ({"metrics": {"half_precision": {"error": "x"}}}, "metrics.half_precision.error is 'x'"),
        ({"title": {}}, "title is {}; it must be text"),
        ({"description": 7}, "description is 7"),
        ({"flux_kept": "no"}, "flux_kept is 'no'; it must be true or false"),
        ({"sha256": 7}, "the card beside the file belongs to other weights"),
        ({"network": "lucyd"}, "network is 'lucyd'"),
    ],
)
def test_entries_of_a_wrong_type_in_a_card_are_named(saved, entries, word):
    change_card(saved, **entries)
    assert word in refusal(saved)


def test_entries_of_a_card_may_be_missing_or_empty(saved):
    change_card(saved, noise_sigma=None, metrics={}, blur_sigma_voxels=[0, 1.5], own={"any": [1]})
    assert nl.load_model(saved).card["own"] == {"any": [1]}


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{" + '"a":{' * 100_000, "[]", "7", "\ud800".encode("utf-8", "surrogatepass")]
)
def test_cards_that_are_none_are_refused(saved, text):
    side = saved.with_suffix(".json")
    side.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert "emove or restore" in refusal(saved)


def described(network, path, **entries):
    config = {"type": "lucyd", "dimension": 2, "epsilon": 1e-2, **entries}
    scaling = {"method": "minmax", "low": 0.1, "high": 99.9, "pedestal": 0.0}
    text = json.dumps({"network": config, "normalization": scaling})
    path.write_bytes(save(network.state_dict(), metadata={"napari-lucyd": text}))
    return path


@pytest.mark.parametrize(
    ("entries", "word"),
    [
        ({"epsilon": 1e308}, "epsilon is 1e+308; give a number from 1e-30 to 1e6"),
        ({"ceiling": "high"}, "ceiling is 'high'; give a number above 0"),
        ({"ceiling": -1.0}, "ceiling is -1.0; give a number above 0"),
        ({"epsilon": 1e-300}, "epsilon is 1e-300"),
        ({"epsilon": "x"}, "epsilon is 'x'"),
        ({"dimension": 2.0}, "dimension is 2.0; give an integer"),
        ({"dimension": 10**30}, "dimension is 1000000000000000000000000000000"),
        ({"type": ["lucyd"]}, "network type is ['lucyd']"),
        ({"other": 3}, "unexpected keyword argument 'other'"),
    ],
)
def test_descriptions_that_no_network_has_are_refused(random_model_2d, tmp_path, entries, word):
    assert word in refusal(described(random_model_2d.network, tmp_path / "odd.safetensors", **entries))


def test_a_nested_description_is_refused(random_model_2d, tmp_path):
    path = tmp_path / "deep.safetensors"
    deep = save(random_model_2d.network.state_dict(), metadata={"napari-lucyd": "[" * 100_000})
    path.write_bytes(deep)
    assert "nested too deeply" in refusal(path)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda tensor: tensor.to("meta"), "are without data (meta)"),
        (lambda tensor: tensor.to_sparse(), "are sparse"),
        (lambda tensor: tensor.to(torch.complex64), "are torch.complex64"),
        (lambda tensor: torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.qint8), "are torch.qint8"),
        (lambda tensor: torch.zeros(1).expand(10**9), "has shape (1000000000,)"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*quantized tensor")
def test_tensors_without_plain_numbers_are_refused(random_model_2d, tmp_path, change, word):
    path, state = tmp_path / "odd.pth", authors_state(random_model_2d.network)
    name = "up.0.weight"
    state[name] = change(state[name])
    torch.save(state, path)
    text = refusal(path)
    assert word in text or "holds other objects" in text
    assert name in text or "holds other objects" in text


def test_a_nested_pickle_is_refused(tmp_path):
    path = tmp_path / "deep.pth"
    path.write_bytes(pickle.PROTO + b"\x02" + b"]" * 100_000 + b"a" * 99_999 + b".")
    assert "not a model file" in refusal(path)


def test_files_that_unpack_to_gigabytes_are_refused_before_that(random_model_2d, tmp_path):
    path, plain = tmp_path / "bomb.pth", io.BytesIO()
    torch.save(authors_state(random_model_2d.network), plain)
    with zipfile.ZipFile(plain) as small, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as large:
        for entry in small.infolist():
            large.writestr(entry, small.read(entry), zipfile.ZIP_DEFLATED)
        with large.open("archive/data/bomb", "w", force_zip64=True) as file:
            for _ in range(70):
                file.write(bytes(10**6))
    assert path.stat().st_size < 10**6
    assert "it unpacks to 70 MB, and models have at most 64 MB" in refusal(path)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_large_files_are_refused_before_they_are_read(tmp_path, suffix):
    path = tmp_path / f"large.{suffix}"
    with path.open("wb") as file:
        file.truncate(10**10)
    assert "it has 10 GB, and models have at most 64 MB" in refusal(path)


def test_names_of_entries_are_shortened(tmp_path):
    torch.save({"x" * 10**6: torch.zeros(1)}, tmp_path / "long.pth")
    assert "not a checkpoint of LUCYD's authors" in refusal(tmp_path / "long.pth")
