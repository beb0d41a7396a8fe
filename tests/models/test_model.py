"""Model files: shipped, saved, imported and refused ones."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from functools import lru_cache

import numpy as np
import pytest
import torch

import napari_lucyd as nl
from napari_lucyd.deconvolution import model_from_recipe
from napari_lucyd.models import Model, Normalization
from napari_lucyd.models.authors_checkpoint import AUTHORS_EPSILON, convert, key_map
from napari_lucyd.models.catalogue import is_told
from napari_lucyd.networks import CARE, LUCYD, RLN, RlnConfig, describe, division_share

CARDS = nl.list_models()
SHIPPED = [card["name"] for card in CARDS]
REQUIRED = {
    "name", "title", "description", "network", "normalization", "blur_sigma_voxels", "noise_sigma",
    "flux_kept", "training", "metrics", "sha256", "license",
}  # fmt: skip


def authors_state(network: LUCYD) -> dict[str, torch.Tensor]:
    """A network's weights under the authors' names."""
    state = network.state_dict()
    return {theirs: state[ours].clone() for ours, theirs in key_map().items()}


def test_the_default_comes_first_and_all_are_shipped():
    assert SHIPPED[:2] == ["lucyd", "lucyd-planes"]
    compared = {
        "mixture",
        "mixture-rln",
        "mixture-care",
        "nuclei",
        "nuclei-rln",
        "nuclei-care",
        "membranes",
        "membranes-rln",
        "membranes-care",
    }
    assert set(SHIPPED) == {"lucyd", "lucyd-planes", "general", "planes", *compared}
    # A user who chooses a network and no model gets the first one, which is not for a single specimen.
    for network in ("rln", "care"):
        first = next(card["name"] for card in CARDS if card["network"]["type"] == network)
        assert first == f"mixture-{network}"


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_model_is_small_complete_and_what_its_card_says(name):
    model = nl.load_model(name)
    assert set(model.card) >= REQUIRED
    assert model.card["license"] == "BSD-3-Clause"
    assert model.card["sha256"] == model.sha256
    assert model.card["network"]["dimension"] == model.dimension
    assert "command" in model.card["training"]
    run = model.card["training"]["config"]
    # The card says that flux is kept only if the training kept it.
    photometric = run["data"]["track"] in ("open", "estimates")
    assert model.card["flux_kept"] == (photometric and run["schedule"]["flux_weight"] > 0)
    from importlib import resources

    file = resources.files("napari_lucyd.models").joinpath(f"{name}.safetensors")
    assert len(file.read_bytes()) < (2_500_000 if model.card["network"]["type"] == "care" else 200_000)


def patch(model: Model) -> torch.Tensor:
    """A blurred specimen of the kind that the model was trained on, as the model sees it."""
    shape = (32, 64, 64) if model.dimension == 3 else (96, 96)
    image = nl.degrade(nl.make_phantom(shape, rng=7), blur_sigma=1.2, noise_sigma=15 / 255, rng=7).image
    if is_told(model.card):
        specimen = nl.make_structures("mixture", shape, rng=7, blur_sigma=1.2)
        image = nl.degrade(specimen, blur_sigma=1.2, noise_sigma=5 / 255, rng=7).image
        found = nl.deconvolve(image, model, blur_sigma=1.2, outputs=("first_estimate",), device="cpu")
        scaling = found.recipe["normalization"]
        image = ((found.first_estimate - scaling["lo"][0]) / scaling["s"][0]).astype(np.float32)
    return torch.from_numpy(image)[None, None]


@pytest.mark.parametrize("name", [card["name"] for card in CARDS if card["network"]["type"] == "lucyd"])
def test_division_of_a_shipped_model_lives(name):
    model = nl.load_model(name)
    assert division_share(model.network, patch(model)) > 0.02
    epsilon = model.network.config.epsilon
    assert epsilon > 1e-4
    # Behind a dead division the running variance is 1e19 or more: see docs/decisions/0001-epsilon.md. If it
    # works, quotients are far from the largest possible one, 1 / epsilon.
    assert model.network.division.embed[1].running_var.max() < 1 / epsilon**2


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("kind", ["noise", "zeros", "constant", "bright voxel"])
def test_output_of_a_shipped_model_stays_bounded(name, kind):
    model = nl.load_model(name)
    shape = [32] * model.dimension
    image = {
        "noise": np.random.default_rng(0).normal(0, 0.5, shape),
        "zeros": np.zeros(shape),
        "constant": np.full(shape, 0.5),
        "bright voxel": np.pad(np.full([2] * model.dimension, 20.0), 15),
    }[kind]
    with torch.no_grad():
        output = model.network(torch.from_numpy(image.astype(np.float32))[None, None]).output
    assert torch.isfinite(output).all()
    # A restored point is sharper and therefore higher than in the image; a factor of three is generous.
    factor = 3.0
    if kind == "bright voxel" and name == "membranes-rln":
        factor = 4.0
    if kind == "bright voxel" and name in ("nuclei-rln", "nuclei-care"):
        factor = 4.25  # they reach 4.13 and 3.72
    if kind == "bright voxel" and name in ("nuclei", "membranes"):
        # They are made to undo such a dimming. On structures that are sharp already they undo no more than
        # this.
        factor = dimming(model.card["specimen"]) / 4
    assert output.max() <= factor * max(1.0, float(np.abs(image).max()))


@lru_cache
def dimming(specimen: str) -> float:
    """Brightness of a cube of two voxels a side, divided by that of its image through a surrogate."""
    cube = np.pad(np.full((2, 2, 2), 1e7), 31)  # so bright that noise does not matter
    return float(cube.max() / nl.make_surrogate(cube, specimen).image.max())  # type: ignore[arg-type]


@pytest.mark.parametrize("fixture", ["random_model", "random_model_2d"])
def test_saved_model_loads_as_it_was(fixture, request, tmp_path):
    model = request.getfixturevalue(fixture)
    card = {"title": "Mine", "flux_kept": True}
    path = nl.save_model(
        tmp_path / "mine.safetensors",
        model.network,
        normalization={"method": "percentile", "low": 1.0},
        card=card,
    )
    again = nl.load_model(path)
    y = torch.rand(1, 1, *[8] * model.dimension)
    assert torch.equal(again.network(y).output, model.network(y).output)
    assert again.network.config == model.network.config
    assert again.normalization == Normalization("percentile", 1.0, 99.9)
    assert (again.name, again.card["title"], again.card["sha256"]) == ("mine", "Mine", again.sha256)


def test_half_precision_halves_the_file_and_hardly_changes_the_output(tmp_path):
    network = CARE().eval()
    whole = nl.save_model(tmp_path / "whole.safetensors", network)
    half = nl.save_model(tmp_path / "half.safetensors", network, half_precision=True)
    assert half.stat().st_size < 0.51 * whole.stat().st_size
    assert half.stat().st_size < 2.5e6
    again = nl.load_model(half)
    assert {weight.dtype for weight in again.network.parameters()} == {torch.float32}
    y = torch.rand(1, 1, 8, 16, 16)
    torch.testing.assert_close(again.network(y).output, network(y).output, rtol=0, atol=2e-3)


@pytest.mark.parametrize("build", [CARE, RLN, lambda: RLN(RlnConfig(affine=False))])
def test_rivals_are_saved_and_loaded_as_they_were(build, tmp_path):
    network = build()
    network(torch.rand(2, 1, 8, 8, 8))  # batch norms that are no longer fresh
    path = nl.save_model(tmp_path / "a.safetensors", network, normalization={"method": "minmax"})
    again = nl.load_model(path)
    assert type(again.network) is type(network) and again.network.config == network.config
    assert again.card["network"] == describe(network.config) and again.dimension == 3
    y = torch.rand(1, 1, 8, 4, 8)
    with torch.no_grad():
        assert torch.equal(again.network(y).output, network.eval()(y).output)
    assert again.sha256 == Model.from_network(network, name="b", normalization={"method": "minmax"}).sha256


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"type": "unet", "dimension": 3}, "'unet'.*lucyd, rln, care"),
        ({"dimension": 3}, "None.*lucyd, rln, care"),
        ({"type": "care", "depth": 2}, "depth"),
        ({"type": "rln", "dimension": 2}, "give 3"),
    ],
)
def test_network_that_is_not_known_is_refused_in_words(tmp_path, entry, message):
    from safetensors.torch import save_file

    described = json.dumps({"network": entry, "normalization": {"method": "minmax"}})
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors", metadata={"napari-lucyd": described})
    with pytest.raises(ValueError, match=message):
        nl.load_model(tmp_path / "a.safetensors")


def test_saved_model_loads_without_its_card(random_model, tmp_path):
    path = nl.save_model(tmp_path / "a.safetensors", random_model.network, normalization={"method": "minmax"})
    path.with_suffix(".json").unlink()
    assert nl.load_model(path).normalization.method == "minmax"


def test_saving_does_not_overwrite_unasked(random_model, tmp_path):
    path = nl.save_model(tmp_path / "a.safetensors", random_model.network)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="another name"):
        nl.save_model(path, random_model.network)
    assert path.read_bytes() == before


def test_card_of_other_weights_is_noticed(random_model, tmp_path):
    path = nl.save_model(tmp_path / "a.safetensors", random_model.network)
    card = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**card, "sha256": "0" * 64}))
    with pytest.raises(ValueError, match="other weights"):
        nl.load_model(path)


@pytest.mark.parametrize("fixture", ["random_model", "random_model_2d"])
def test_authors_names_map_back_to_the_same_network(fixture, request):
    network = request.getfixturevalue(fixture).network
    imported = convert(authors_state(network))
    assert imported.config.dimension == network.config.dimension
    assert imported.config.epsilon == AUTHORS_EPSILON
    for name, tensor in network.state_dict().items():
        assert torch.equal(imported.state_dict()[name], tensor)


def test_every_entry_has_one_name_of_the_authors():
    names = key_map()
    assert len(names) == len(set(names.values())) == 179
    assert names["division.project.0.weight"] == "update_branch.2.conv1.main.0.weight"
    assert names["bottleneck_decode.1.second.1.running_var"] == "Decoder.0.layers.0.main.1.main.1.running_var"


@pytest.mark.parametrize(("file", "golden"), [("lucyd-mixture", "lucyd-mixture"), ("lucyd2d", "lucyd2d")])
def test_imported_checkpoint_equals_the_authors_network(shared, file, golden):
    network = nl.load_model(shared / "reference" / f"{file}.pth").network
    arrays = np.load(shared / "reference" / f"{golden}-golden.npz")
    y = torch.from_numpy(arrays["y"]).reshape(1, 1, *arrays["y"].shape[-network.config.dimension :])
    with torch.no_grad():
        parts = network(y)
    for name, part in (
        ("output", parts.output),
        ("update", parts.update_term),
        ("z_tilde", parts.intermediate),
    ):
        expected = arrays[name].squeeze()
        deviation = np.abs(part.squeeze().numpy() - expected).max()
        assert deviation <= 1e-5 * np.ptp(expected)


def test_checkpoint_file_of_the_authors_kind_is_imported(random_model, tmp_path):
    torch.save(authors_state(random_model.network), tmp_path / "lucyd-x.pth")
    model = nl.load_model(tmp_path / "lucyd-x.pth")
    assert (model.name, model.normalization.method) == ("lucyd-x", "minmax")


def test_checkpoint_with_odd_entries_says_which(random_model, tmp_path):
    state = authors_state(random_model.network)
    del state["up.0.weight"]
    state["head.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"missing \(up.0.weight\).*unknown \(head.weight\)"):
        nl.load_model(tmp_path / "a.pth")
    state = authors_state(random_model.network)
    state["AFFs.0.conv.0.main.0.weight"] = torch.zeros(4, 3, 1, 1, 1)
    with pytest.raises(ValueError, match=r"AFFs.0.conv.0.main.0.weight has shape \(4, 3, 1, 1, 1\)"):
        convert(state)


class _Trap:
    def __reduce__(self):
        return (print, ("code from a stranger's file ran",))


def test_code_in_a_file_is_never_run(tmp_path, capsys):
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"up.0.weight": _Trap()}, protocol=2))
    with pytest.raises(ValueError, match="never run"):
        nl.load_model(tmp_path / "evil.pth")
    assert "stranger" not in capsys.readouterr().out


def test_other_files_are_refused_in_words(tmp_path):
    with pytest.raises(FileNotFoundError, match="general"):
        nl.load_model("generall")
    (tmp_path / "a.txt").write_text("no")
    with pytest.raises(ValueError, match=r"\.safetensors"):
        nl.load_model(tmp_path / "a.txt")
    (tmp_path / "a.safetensors").write_bytes(b"12345678 no safetensors at all")
    with pytest.raises(ValueError, match="damaged"):
        nl.load_model(tmp_path / "a.safetensors")
    (tmp_path / "a.pth").write_bytes(b"")
    with pytest.raises(ValueError, match="not a model file"):
        nl.load_model(tmp_path / "a.pth")
    torch.save([1, 2], tmp_path / "b.pth")
    with pytest.raises(ValueError, match="plain table"):
        nl.load_model(tmp_path / "b.pth")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="no configuration"):
        nl.load_model(tmp_path / "b.safetensors")


def test_what_is_damaged_is_refused_in_words_whatever_is_damaged(random_model, tmp_path):
    whole, path = tmp_path / "whole.pth", tmp_path / "cut.pth"
    torch.save(authors_state(random_model.network), whole)
    data = whole.read_bytes()
    for share in (0.01, 0.1, 0.3, 0.5, 0.8, 0.99):
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(ValueError, match=r"cut.pth is not a model file"):
            nl.load_model(path)
    torch.save({0: torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="plain table"):
        nl.load_model(path)

    saved = nl.save_model(tmp_path / "ours.safetensors", random_model.network)
    side = saved.with_suffix(".json")
    card = side.read_text("utf-8")
    for text in ("", "{", '"x"', "[1]"):
        side.write_text(text, "utf-8")
        with pytest.raises(ValueError, match=r"ours.json"):
            nl.load_model(saved)
    side.write_text(json.dumps({**json.loads(card), "sha256": 5}), "utf-8")
    with pytest.raises(ValueError, match="other weights"):
        nl.load_model(saved)
    side.unlink()

    from safetensors.torch import load_file, save_file

    state = load_file(saved)
    kept = {"network": describe(random_model.network.config), "normalization": {"method": "minmax"}}
    for entry in ("{", "[]", "{}", json.dumps({**kept, "normalization": {"method": "odd"}})):
        save_file(state, saved, metadata={"napari-lucyd": entry})
        with pytest.raises(ValueError, match="cannot build the network"):
            nl.load_model(saved)


def test_nothing_that_is_there_is_replaced_unasked(random_model, tmp_path):
    notes = tmp_path / "notes.json"
    notes.write_text('{"my": "notes"}', "utf-8")
    with pytest.raises(FileExistsError, match=r"notes.json"):
        nl.save_model(tmp_path / "notes.safetensors", random_model.network)
    assert notes.read_text("utf-8") == '{"my": "notes"}' and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(TypeError):
        nl.save_model(tmp_path / "x.safetensors", random_model.network, card={"x": {1}})
    assert len(list(tmp_path.iterdir())) == 1


def test_a_copy_of_a_model_is_scaled_as_the_model(tmp_path):
    model = nl.load_model("general")
    copy = nl.load_model(nl.save_model(tmp_path / "copy.safetensors", model.network, card=model.card))
    assert copy.normalization == model.normalization != Normalization()


def test_a_recipe_brings_back_its_model_and_no_other(random_model_2d, tmp_path):
    path = nl.save_model(tmp_path / "planes.safetensors", random_model_2d.network)
    model = nl.load_model(path)
    recipe = nl.deconvolve(np.eye(16), model, device="cpu").recipe
    assert model_from_recipe(recipe, path).sha256 == model.sha256
    # The shipped model of that name is another one.
    with pytest.raises(ValueError, match="not that of the recipe"):
        model_from_recipe(recipe)


def test_normalization_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="'minmax', 'percentile', 'none', 'standard' or 'first_estimate'"):
        Normalization("robust")
    with pytest.raises(ValueError, match="increase within"):
        Normalization("percentile", 99, 1)


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, napari_lucyd as nl; nl.list_models(); "
        "print([m for m in ('torch', 'napari', 'scipy', 'dask', 'qtpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["general", "planes"])
def test_earlier_defaults_say_that_they_remove_noise_rather_than_blur(name):
    description = nl.load_model(name).card["description"]
    assert "correction mask is" in description
    assert "removes noise rather than blur" in description
