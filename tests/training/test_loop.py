"""Training: reproducible, resumable, and it learns."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from packaging.version import Version

import napari_lucyd as nl
from napari_lucyd.io import ImageFileError
from napari_lucyd.models.normalization import Normalization
from napari_lucyd.networks import (
    LUCYD,
    CareConfig,
    CareOutput,
    LucydConfig,
    LucydOutput,
    RlnConfig,
    RlnOutput,
    describe,
)
from napari_lucyd.training import TrainingConfig, load_config, loop, train, trainer
from napari_lucyd.training.config import SCALINGS, DataConfig, ScheduleConfig, parse_config
from napari_lucyd.training.data import Patch, Patches, _OpenSpecimen, _wide_blur
from napari_lucyd.training.initialization import hold_output, start_from, start_near_identity
from napari_lucyd.training.loop import DeadLayerError
from napari_lucyd.training.loss import each_loss, local_flux_error, loss_of, lucyd_loss, ssim_global
from napari_lucyd.training.model_card import trained_for
from small_training import SMALL

CONFIGS = Path(__file__).parents[2] / "configs"


# The shipped configurations, made small. They are not compiled: that would take longer than the training.
RIVALS = {
    config.network: replace(
        config,
        data=replace(config.data, patch_shape=(8, 8, 8), phantom_shape=(24, 32, 32), alive=2),
        schedule=replace(
            config.schedule, patches=24, batch_size=4, validate_every=5, validation_patches=2, compile=False
        ),
    )
    for config in (load_config(CONFIGS / f"mixture-{name}.toml") for name in ("rln", "care"))
}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_run_leaves_model_card_and_log(tmp_path):
    seen = []
    path = train(SMALL, tmp_path, device="cpu", progress=seen.append)
    model = nl.load_model(path)
    assert (model.name, model.dimension) == ("small", 2)
    assert model.card["training"]["patches"] == 48
    assert model.card["flux_kept"] is True
    assert [p.step for p in seen] == list(range(1, 13))
    log = rows(tmp_path / "log.csv")
    assert len(log) == 12
    assert [bool(row["validation_psnr"]) for row in log] == [False] * 5 + [True] + [False] * 5 + [True]


def test_training_lowers_the_loss(tmp_path):
    longer = replace(SMALL, schedule=replace(SMALL.schedule, patches=240))
    train(longer, tmp_path, device="cpu")
    losses = [float(row["loss"]) for row in rows(tmp_path / "log.csv")]
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])


def test_resumed_run_is_bit_for_bit_the_unbroken_one(tmp_path):
    whole = train(SMALL, tmp_path / "whole", device="cpu")
    assert train(SMALL, tmp_path / "parts", device="cpu", stop_after=5) is None
    # A finished run does nothing more; and a resumed run has its own weights.
    assert train(SMALL, tmp_path / "parts", device="cpu", resume=True, stop_after=0) is None
    with pytest.raises(ValueError, match="give only one of them"):
        train(SMALL, tmp_path / "parts", device="cpu", resume=True, start="planes")
    resumed = train(SMALL, tmp_path / "parts", device="cpu", resume=True)
    assert whole.read_bytes() == resumed.read_bytes()
    assert (tmp_path / "whole" / "log.csv").read_bytes() == (tmp_path / "parts" / "log.csv").read_bytes()


@pytest.mark.parametrize("config", RIVALS.values(), ids=lambda config: config.name)
def test_rivals_are_trained_and_resumed_like_lucyd(tmp_path, config):
    whole = train(config, tmp_path / "whole", device="cpu")
    assert train(config, tmp_path / "parts", device="cpu", stop_after=3) is None
    resumed = train(config, tmp_path / "parts", device="cpu", resume=True)
    assert whole.read_bytes() == resumed.read_bytes()
    assert (tmp_path / "whole" / "log.csv").read_bytes() == (tmp_path / "parts" / "log.csv").read_bytes()
    model = nl.load_model(whole)
    assert model.network.config == config.network
    assert model.card["training"]["config"]["network"] == describe(config.network)
    assert set(model.card["metrics"]) == {"validation", "health"} and model.normalization.method == "minmax"
    volume = np.random.default_rng(0).random((3, 5, 4), dtype=np.float32)
    assert nl.deconvolve(volume, model).output.shape == volume.shape


@pytest.mark.parametrize("config", RIVALS.values(), ids=lambda config: config.name)
def test_training_lowers_the_loss_of_rivals(tmp_path, config):
    # Statistics that are kept after so few steps would be those that RLN begins with.
    config = replace(config, schedule=replace(config.schedule, patches=160, free_norms=1.0))
    patches, run = Patches(config), loop._Run(config, tmp_path, torch.device("cpu"))
    # The same batch again and again: batches differ more in difficulty than 40 steps can teach.
    batch = Patch(
        *(torch.stack(tensors) for tensors in zip(*map(patches.__getitem__, range(4)), strict=True))
    )
    losses = [run.train_on(batch) for _ in range(40)]
    assert losses[-1] < 0.9 * losses[0]


def test_configurations_name_the_variants_that_the_paper_counts():
    assert set(RIVALS) == {RlnConfig(affine=False), CareConfig()}


def test_ctrl_c_saves_and_the_run_can_go_on(tmp_path, ctrl_c):
    def interrupt(progress):
        if progress.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(SMALL, tmp_path, device="cpu", progress=interrupt)
    assert len(rows(tmp_path / "log.csv")) == 3
    assert train(SMALL, tmp_path, device="cpu", resume=True) is not None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_in_the_middle_of_a_step_waits_for_its_end(tmp_path, monkeypatch, ctrl_c, number):
    whole = train(SMALL, tmp_path / "whole", device="cpu")
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    step, calls = torch.optim.Adam.step, []

    def interrupted(self, *arguments):
        calls.append(0)
        if len(calls) == 3:
            os.kill(os.getpid(), number)
        return step(self, *arguments)

    try:
        monkeypatch.setattr(torch.optim.Adam, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(SMALL, tmp_path / "cut", device="cpu")
    finally:
        monkeypatch.undo()
        signal.signal(signal.SIGTERM, before)
    assert len(rows(tmp_path / "cut" / "log.csv")) == 3
    cut = train(SMALL, tmp_path / "cut", device="cpu", resume=True)
    assert cut.read_bytes() == whole.read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="the system has no limit for the size of files")
def test_a_full_disk_is_named_and_the_last_save_is_kept(tmp_path):
    import resource

    train(SMALL, tmp_path, device="cpu", stop_after=1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(before) == {"checkpoint.pt", "log.csv"}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    model = tmp_path / "model.safetensors"
    network = LUCYD(SMALL.network)
    # A limit for the size of files gives the same error as a disk that fills up.
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before["checkpoint.pt"]) // 8, limits[1]))
    try:
        with pytest.raises(ImageFileError, match=r"checkpoint\.pt: cannot be written: the disk is full"):
            train(SMALL, tmp_path, device="cpu", resume=True, stop_after=2)
        with pytest.raises(ImageFileError, match=r"model\.safetensors: cannot be written: the disk is full"):
            nl.save_model(model, network)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    train(SMALL, tmp_path, device="cpu", resume=True, stop_after=2)
    assert {path.name for path in tmp_path.iterdir()} == set(before)


def test_run_that_is_there_is_not_started_over(tmp_path):
    train(SMALL, tmp_path, device="cpu", stop_after=1)
    with pytest.raises(FileExistsError, match="resume"):
        train(SMALL, tmp_path, device="cpu")
    other = replace(SMALL, network=LucydConfig(dimension=2, epsilon=0.5))
    with pytest.raises(ValueError, match="another configuration"):
        train(other, tmp_path, device="cpu", resume=True)
    with pytest.raises(FileNotFoundError, match="resume"):
        train(SMALL, tmp_path / "empty", device="cpu", resume=True)


@pytest.mark.parametrize("file", ["small.safetensors", "small.json"])
def test_model_that_is_there_is_not_replaced(tmp_path, file):
    (tmp_path / file).write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=rf"{file} already exists.*another folder"):
        train(SMALL, tmp_path, device="cpu", stop_after=1)
    assert os.listdir(tmp_path) == [file] and (tmp_path / file).read_bytes() == b"mine"


def test_finished_run_can_be_resumed_and_replaces_its_own_model(tmp_path):
    path = train(SMALL, tmp_path, device="cpu")
    before = path.read_bytes()
    assert train(SMALL, tmp_path, device="cpu", resume=True).read_bytes() == before


def test_device_that_is_not_there_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(ValueError, match=r"device is 'cuda:99'.*give 'auto' or 'cpu'"):
        train(SMALL, tmp_path / "run", device="cuda:99")
    with pytest.raises(ValueError, match="device is 'gpu'"):
        train(SMALL, tmp_path / "run", device="gpu")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("damage", ["cut off", "empty", "lacks an entry", "is something else"])
def test_damaged_checkpoint_is_refused_in_words(tmp_path, damage):
    train(SMALL, tmp_path, device="cpu", stop_after=1)
    path = tmp_path / "checkpoint.pt"
    if damage == "cut off":
        os.truncate(path, 2000)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "lacks an entry":
        state = torch.load(path, weights_only=True)
        torch.save({key: value for key, value in state.items() if key != "optimizer"}, path)
    else:
        torch.save([1, 2], path)
    with pytest.raises(ValueError, match=r"checkpoint.pt is damaged.*another folder"):
        train(SMALL, tmp_path, device="cpu", resume=True)


def test_patches_do_not_depend_on_workers_or_order(tmp_path):
    alone = Patches(SMALL)[37]
    after_others = Patches(SMALL)
    for index in (0, 5, 90):
        after_others[index]
    for a, b in zip(alone, after_others[37], strict=True):
        assert torch.equal(a, b)
    train(SMALL, tmp_path / "none", device="cpu", stop_after=4)
    train(SMALL, tmp_path / "one", device="cpu", stop_after=4, workers=1)
    assert (tmp_path / "none" / "log.csv").read_bytes() == (tmp_path / "one" / "log.csv").read_bytes()


@pytest.mark.parametrize("track", ["strict", "open"])
def test_patch_and_truth_stay_in_register_and_to_scale(track):
    data = replace(
        SMALL.data, track=track, patch_shape=(16, 32, 32), phantom_shape=(32, 48, 48), noise_sigma=(0.0, 0.1)
    )
    config = replace(SMALL, network=LucydConfig(dimension=3), normalization=SCALINGS[track], data=data)
    for index in range(6):
        image, truth, weight = Patches(config)[index]
        assert image.shape == truth.shape == (1, 16, 32, 32)
        assert weight.shape == (1, 1, 1, 1)
        # There is nearly no noise: blurred and sharp differ only in detail, and flips change both alike.
        assert np.corrcoef(image.flatten(), truth.flatten())[0, 1] > 0.6
    if track == "open":
        assert float((image - truth).mean().abs()) < 0.05


def test_subsampled_patch_is_every_second_voxel():
    data = DataConfig(
        track="open", blur_sigma=(1.0, 1.0), noise_sigma=(0.0, 0.0), patch_shape=(16, 32, 32),
        phantom_shape=(32, 64, 64), subsampled=1.0, alive=1,
    )  # fmt: skip
    patches = Patches(TrainingConfig("a", normalization=SCALINGS["open"], data=data))
    truth = patches[0].truth.numpy()
    whole = patches._specimens.popitem()[1].truth
    assert np.array_equal(np.sort(truth.ravel()), np.sort(whole[::2, ::2, ::2].ravel())) or np.array_equal(
        np.sort(truth.ravel()), np.sort(whole[1::2, 1::2, 1::2].ravel())
    )
    with pytest.raises(ValueError, match="every second voxel"):
        replace(data, phantom_shape=(24, 64, 64))


@pytest.mark.parametrize("shape", [(24, 31, 40), (33, 42)])
def test_wide_foot_of_a_blur_moves_light_and_keeps_it(shape):
    sharp = np.zeros(shape, np.float32)
    middle = tuple(n // 2 for n in shape)
    sharp[middle] = 1000
    wide = _wide_blur(sharp, [4.0] * len(shape))
    assert wide.shape == shape
    assert wide.sum() == pytest.approx(1000, rel=0.15)
    assert wide.max() < 15
    # The halves average voxel pairs: the centre stays where it was to half a voxel.
    for axis, n in enumerate(middle):
        others = tuple(a for a in range(len(shape)) if a != axis)
        profile = wide.sum(axis=others)
        assert np.average(np.arange(len(profile)), weights=profile) == pytest.approx(n, abs=0.6)


@pytest.mark.parametrize("dimension", [2, 3])
def test_training_starts_from_a_copy_and_a_living_division(dimension):
    torch.manual_seed(0)
    network = LUCYD(LucydConfig(dimension=dimension, epsilon=1e-2)).train()
    start_near_identity(network)
    y = torch.rand(2, 1, *[16] * dimension) + 0.2
    with torch.no_grad():
        result = network(y)
        projection = network.division.project(network.update_encode(y)).mean(dim=1)
    assert np.corrcoef(result.output.flatten(), y.flatten())[0, 1] > 0.85
    assert result.correction_mask.std() < 0.15
    assert result.update_term.mean().item() == pytest.approx(1, abs=0.1)
    assert projection.min() > 0.1


def test_training_goes_on_from_another_model(tmp_path):
    first = train(SMALL, tmp_path / "first", device="cpu")
    network = LUCYD(SMALL.network)
    start_from(network, first)
    for name, tensor in nl.load_model(first).network.state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor)
    second = train(replace(SMALL, name="second"), tmp_path / "second", device="cpu", start=first)
    training = nl.load_model(second).card["training"]
    assert training["command"] == f"lucyd train configs/second.toml --start {first}"
    origin = training["started_from"]
    assert (origin["name"], origin["sha256"]) == ("small", nl.load_model(first).sha256)
    assert origin["training"]["patches"] == 48
    with pytest.raises(ValueError, match="another model"):
        train(SMALL, tmp_path / "third", device="cpu", start="general")


def test_training_goes_on_from_where_a_run_was_stopped(tmp_path):
    folder = tmp_path / "first"
    train(SMALL, folder, device="cpu", stop_after=2)
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    network = LUCYD(SMALL.network)
    start_from(network, folder)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, state["averaged"][f"module.{name}"])
    second = train(replace(SMALL, name="second"), tmp_path / "second", device="cpu", start=folder)
    origin = nl.load_model(second).card["training"]["started_from"]
    assert (origin["name"], origin["training"]["steps"]) == ("small", 2)
    assert origin["training"]["patches"] == 2 * SMALL.schedule.batch_size
    other = LUCYD(replace(SMALL.network, epsilon=0.5))
    with pytest.raises(ValueError, match="start from another"):
        start_from(other, folder)
    (folder / "checkpoint.pt").write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match="damaged"):
        start_from(network, folder)


def test_bright_specks_are_blurred_and_true_and_hot_voxels_neither():
    data = replace(SMALL.data, bright=1.0, haze=0.0, noise_sigma=(0.0, 0.0), gain=(1.0, 1.0))
    specimens = [_OpenSpecimen(data, SMALL.normalization, seed) for seed in range(6)]
    plain = [_OpenSpecimen(replace(data, bright=0.0), SMALL.normalization, seed) for seed in range(6)]
    assert max(s.truth.max() for s in plain) < 8 < max(s.truth.max() for s in specimens)
    # Blurred specks become darker, so only the camera makes a voxel far brighter than the truth.
    assert max((s.image / s.truth.max()).max() for s in plain) < 2
    assert max((s.image - s.truth).max() for s in specimens) > 5
    image, truth, weight = Patches(replace(SMALL, data=data))[0]
    assert max(image.max(), truth.max()) * weight.item() <= 3.001


def test_kept_statistics_stay_in_network_and_average(tmp_path):
    config = replace(SMALL, schedule=replace(SMALL.schedule, free_norms=0.5))

    def variances(entry, step):
        train(config, tmp_path, device="cpu", resume=step > 6, stop_after=step)
        state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)[entry]
        return {name.removeprefix("module."): v for name, v in state.items() if name.endswith("running_var")}

    at_half, later = variances("network", 6), variances("averaged", 9)
    assert at_half.keys() == later.keys()
    for name, variance in at_half.items():
        assert torch.equal(variance, later[name])


def test_average_of_a_short_run_has_forgotten_its_start(tmp_path):
    config = replace(SMALL, schedule=replace(SMALL.schedule, patches=40 * SMALL.schedule.batch_size))
    train(config, tmp_path, device="cpu")
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    with torch.random.fork_rng():
        torch.manual_seed(config.schedule.seed)
        start = dict(LUCYD(config.network).named_parameters())
    far = sum((state["network"][name] - value).square().sum() for name, value in start.items())
    kept = sum(
        (state["network"][name] - state["averaged"][f"module.{name}"]).square().sum() for name in start
    )
    assert kept < 0.1 * far


def test_global_ssim_and_loss_are_those_of_the_paper():
    truth = torch.rand(2, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    assert ssim_global(truth, truth).item() == pytest.approx(1)
    assert lucyd_loss(truth, truth).item() == pytest.approx(0, abs=1e-6)
    # Worked out on paper: a shift of d changes only the means.
    shifted, mean = truth + 0.1, float(truth.mean())
    expected = (2 * mean * (mean + 0.1) + 1e-4) / (mean**2 + (mean + 0.1) ** 2 + 1e-4)
    assert ssim_global(shifted, truth).item() == pytest.approx(expected, rel=1e-5)
    assert lucyd_loss(shifted, truth).item() == pytest.approx(0.01 - np.log((1 + expected) / 2), rel=1e-4)


def test_each_network_has_the_loss_of_its_authors():
    image, truth, other = torch.rand(3, 2, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    batch = Patch(image, truth, torch.full((2, 1, 1, 1, 1), 0.5))
    eq_8 = lucyd_loss(other / 2, truth / 2).item()
    assert loss_of("lucyd")(LucydOutput(other, image, image, image), batch).item() == pytest.approx(eq_8)
    # The estimate of RLN should be 0.8 truth + 0.2 image; it is off by 0.3 / 2.
    estimate = 0.8 * truth + 0.2 * image + 0.3
    found = loss_of("rln")(RlnOutput(other, estimate), batch).item()
    assert found == pytest.approx(eq_8 + 0.1 * 0.15**2, rel=1e-5)
    found = loss_of("care")(CareOutput(truth - 0.3, image), batch).item()
    assert found == pytest.approx(0.15, rel=1e-5)
    # Any of them can have LUCYD's loss instead.
    found = loss_of("care", "lucyd")(CareOutput(other, image), batch).item()
    assert found == pytest.approx(eq_8)


def test_local_flux_error_sees_a_wrong_level_and_no_rearrangement():
    truth = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert local_flux_error(truth + 0.1, truth).item() == pytest.approx(0.01, rel=1e-4)
    assert local_flux_error(truth.flip(-1)[..., 8:].repeat(1, 1, 1, 2), truth).item() > 0
    rolled = torch.cat((truth[..., :8].roll(3, -1), truth[..., 8:].roll(2, -2)), dim=-1)
    assert local_flux_error(rolled, truth).item() == pytest.approx(0, abs=1e-3)
    assert local_flux_error(torch.ones(1, 1, 8, 8, 8), torch.zeros(1, 1, 8, 8, 8)).item() == 1


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_configurations_load_and_are_those_of_the_cards(path):
    config = load_config(path)
    assert config.name == path.stem
    if config.history == "Not trained yet.":
        assert config.name not in {card["name"] for card in nl.list_models()}
        return
    # Some only compare networks on equal budgets, and are not shipped.
    unshipped = CONFIGS / "equal" / f"{config.name}.safetensors"
    # general-first is the first stage of general, and lucyd-start that of lucyd, which then had its name, as
    # had all stages of lucyd-planes: -start, then -plain.
    shipped = config.name.removesuffix("-first").removesuffix("-start").removesuffix("-plain")
    training = nl.load_model(unshipped if unshipped.exists() else shipped).card["training"]
    if config.name.endswith("-plain"):
        training = training["started_from"]["training"]
    elif config.name.endswith("-start"):
        while "started_from" in training:
            training = training["started_from"]["training"]
    else:
        while training["config"]["name"] != config.name:
            training = training["started_from"]["training"]
    assert replace(parse_config(training["config"]), name=config.name) == config


def test_surrogates_share_one_scale_with_their_truth_and_tell_their_blur_and_noise():
    data = DataConfig(
        track="surrogate", specimen="membranes", patch_shape=(24, 32, 32), phantom_shape=(32, 48, 48), alive=1
    )
    scaling = Normalization("percentile", 5.0, 99.9, pedestal=0.25)
    patches = Patches(TrainingConfig("x", normalization=scaling, data=data))
    shown = [patches[i] for i in range(2)]
    specimen = patches._specimens[0]
    assert np.percentile(specimen.image, 5) == pytest.approx(0.25, abs=1e-3)
    assert np.percentile(specimen.image, 99.9) == pytest.approx(1.25, abs=1e-3)
    # Light only moves, and some of it leaves through the borders.
    assert specimen.image.mean() == pytest.approx(specimen.truth.mean(), rel=0.25)
    assert specimen.truth.max() > 2 * specimen.image.max()
    entries = trained_for(data, torch.stack([patch.image for patch in shown]))
    # Theory: 0.51 emission / NA laterally, 2.355 sigmas wide, in voxels of 0.1625 um.
    assert entries["blur_sigma_voxels"][0] == pytest.approx(0.51 * 0.607 / 0.8 / 0.1625 / 2.355, rel=0.05)
    assert entries["axial_ratio"][0] > 4
    assert 0 < entries["noise_sigma"][0] <= entries["noise_sigma"][1] < 0.3


def test_bright_surrogates_have_specks_and_more_noise():
    data = DataConfig(
        track="surrogate", specimen="nuclei", bright=0.5, noise_sigma=(0.0, 120.0), patch_shape=(24, 32, 32),
        phantom_shape=(24, 40, 40), alive=8,
    )  # fmt: skip
    scaling = Normalization("percentile", 5.0, 99.9)
    patches = Patches(TrainingConfig("x", normalization=scaling, data=data))
    specimens = [patches._specimen(i) for i in range(8)]
    bright = [specimen for specimen in specimens if specimen.bright]
    # With 8 specimens at a share of a half, none or all would be drawn once in 128 seeds.
    assert 0 < len(bright) < 8
    # A speck is at least twice as bright as the bright parts; a surrogate's own haze is far from that.
    assert min(np.ptp(specimen.truth) for specimen in bright) > 2
    plain = Patches(TrainingConfig("x", normalization=scaling, data=replace(data, bright=0.0)))
    number = next(i for i, specimen in enumerate(specimens) if not specimen.bright)
    assert np.array_equal(plain._specimen(number).image, specimens[number].image)
    index = next(i for i, specimen in enumerate(specimens) if specimen.bright)
    whole = specimens[index].patch((slice(None),) * 3, np.random.default_rng(0))
    assert whole.peak >= max(whole.image.max(), whole.truth.max()) / 3


@pytest.mark.skipif(
    Version(np.__version__) < Version("2.3"),
    reason="numpy before 2.3 adds up float32 in another order: photon noise of some patches is another draw",
)
def test_first_steps_of_a_shipped_configuration_match_its_log(tmp_path):
    train(CONFIGS / "planes.toml", tmp_path, device="cpu", stop_after=20)
    expected = rows(CONFIGS / "planes.log.csv")[:20]
    for row, wanted in zip(rows(tmp_path / "log.csv"), expected, strict=True):
        # Another number of threads sums in another order; 20 steps of Adam grow 1e-7 to some 1e-4.
        assert float(row["loss"]) == pytest.approx(float(wanted["loss"]), rel=5e-3)
        assert row["learning_rate"] == wanted["learning_rate"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = 'x'", "'name' is missing"),
        ("name = 'x'\nspeed = 3", "no entry 'speed'"),
        ("name = 'x'\n[network]\ndepth = 3", "no entry 'depth'"),
        ("name = 'x'\n[data]\ntrack = 'free'", "strict, open, surrogate, estimates"),
        ("name = 'x'\n[data]\ntrack = 'surrogate'", "one of nuclei, membranes, light_sheet"),
        ("name = 'x'\n[data]\nspecimen = 'nuclei'", "data.track is 'strict'"),
        ("name = 'x'\n[data]\npatch_shape = [31, 64, 64]", "even"),
        ("name = 'x'\n[data]\npatch_shape = [32, 200, 64]", "at least as large"),
        ("name = 'x'\n[network]\ndimension = 2", "2D"),
        ("name = 'x'\n[network]\ntype = 'unet'", "'unet'.*lucyd, rln, care"),
        ("name = 'x'\n[network]\ntype = 'care'\nepsilon = 0.1", "no entry 'epsilon'"),
        ("name = 'x'\n[network]\ntype = 'care'\n[data]\npatch_shape = [30, 64, 64]", "multiples of 4"),
        (
            "name = 'x'\n[network]\ntype = 'rln'\n[schedule]\nnear_identity = true",
            "near_identity is only for LUCYD",
        ),
        (
            "name = 'x'\n[normalization]\npedestal = 0.25",
            "pedestal of 0.25, .* by 'minmax'",
        ),
        ("name = 'x'\n[normalization]\nmethod = 'minmax'\npedestal = 0.25", "without a pedestal"),
        (
            "name = 'x'\n[normalization]\nmethod = 'none'\n[data]\ntrack = 'surrogate'\nspecimen = 'nuclei'",
            "track surrogate are scaled by 'percentile'",
        ),
        ("name = ", "not valid TOML"),
        ("name = 3", "name is 3; .* text in quotes"),
        ("name = 'a/b'", "name is 'a/b'; .*file"),
        ("name = ''", "not empty"),
        ("name = 'x'\nhalf_precision = 1", "half_precision is 1; .* true or false"),
        ("name = 'x'\ndata = 3", r"data is 3; .* table, \[data\]"),
        ("name = 'x'\nnetwork = 'lucyd'", r"table, \[network\]"),
        ("name = 'x'\n[network]\ntype = ['rln']", "lucyd, rln, care"),
        ("name = 'x'\n[network]\ndimension = '3'", "network.dimension is '3'; .* whole number"),
        ("name = 'x'\n[normalization]\nlow = 'none'", "normalization.low is 'none'; .* a number"),
        ("name = 'x'\n[data]\nblur_sigma = 1.2", r"data.blur_sigma is 1.2; .* list of numbers, such as \["),
        ("name = 'x'\n[data]\nblur_sigma = []", "data.blur_sigma .* at least 0"),
        ("name = 'x'\n[data]\nnoise_sigma = [-1]", "data.noise_sigma .* at least 0"),
        ("name = 'x'\n[data]\nnoise_sigma = [nan]", "list of numbers"),
        ("name = 'x'\n[data]\npatch_shape = [0, 64, 64]", "data.patch_shape .* at least 1"),
        ("name = 'x'\n[data]\npatch_shape = [8.0, 64, 64]", "list of whole numbers"),
        ("name = 'x'\n[data]\nalive = 0", "data.alive is 0; .* at least 1"),
        ("name = 'x'\n[data]\nhaze = 35", "data.haze is 35; .* share"),
        ("name = 'x'\n[data]\ngain = [1.0]", "list of 2 numbers"),
        ("name = 'x'\n[data]\ngain = [0, 1]", "data.gain .* above 0"),
        ("name = 'x'\n[data]\noffset = [0.1, -0.1]", "data.offset .* a lower and an upper limit"),
        ("name = 'x'\n[schedule]\npatches = 'many'", "schedule.patches is 'many'; .* whole number"),
        ("name = 'x'\n[schedule]\npatches = true", "schedule.patches is True; .* whole number"),
        ("name = 'x'\n[schedule]\npatches = 4", "schedule.patches is 4; .* at least 8"),
        ("name = 'x'\n[schedule]\npatches = 20\ncycles = 3", "schedule.patches is 20; .* at least 24"),
        ("name = 'x'\n[schedule]\nvalidate_every = 0", "schedule.validate_every is 0; .* at least 1"),
        ("name = 'x'\n[schedule]\nlearning_rate = 0", "schedule.learning_rate is 0; .* above 0"),
        (
            "name = 'x'\n[schedule]\nloss = 'mae'",
            "schedule.loss is 'mae'; .* 'own', 'lucyd', 'lucyd_each' or 'squared'",
        ),
    ],
)
def test_configuration_that_does_not_fit_is_refused_in_words(tmp_path, text, message):
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_config(tmp_path / "a.toml")


def test_loss_that_is_not_finite_stops_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "napari_lucyd.training.loss.lucyd_loss", lambda output, truth: (output * torch.nan).sum()
    )
    with pytest.raises(FloatingPointError, match="learning_rate"):
        train(SMALL, tmp_path, device="cpu")


def test_training_needs_no_napari(tmp_path):
    code = (
        "import sys\n"
        "for name in ('napari', 'qtpy', 'magicgui', 'superqt'): sys.modules[name] = None\n"
        "import napari_lucyd.training, napari_lucyd.simulation, napari_lucyd.models.model\n"
        "print('fine')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "fine"


LIVING = replace(
    SMALL,
    schedule=replace(
        SMALL.schedule, free_norms=0.0, measured_norms=True, identity_output=True, near_identity=True,
        intermediate_weight=0.3, mask_first=0.5, learning_rate=1e-3,
    ),
)  # fmt: skip


def test_output_held_as_the_identity_stays_so_and_norms_stay_as_they_were_measured(tmp_path):
    path = train(LIVING, tmp_path, device="cpu")
    network = nl.load_model(path).network
    assert network.output_gain() == pytest.approx((1.0, 0.0), abs=1e-6)
    started = loop._Run(LIVING, tmp_path, torch.device("cpu")).network
    norms = [name for name in started.state_dict() if name.endswith(("running_mean", "running_var"))]
    assert all(torch.equal(started.state_dict()[name], network.state_dict()[name]) for name in norms)
    assert not torch.equal(started.correction_encode[0][0].weight, network.correction_encode[0][0].weight)


def test_mask_alone_is_trained_first(tmp_path):
    run = loop._Run(LIVING, tmp_path, torch.device("cpu"))
    patches = run.validation
    batch = Patch(*(torch.stack(tensors) for tensors in zip(*patches, strict=True)))
    before = {name: weight.clone() for name, weight in run.network.named_parameters()}
    run.train_on(batch)
    moved = {name for name, weight in run.network.named_parameters() if not torch.equal(weight, before[name])}
    assert any(name.startswith("correction_decode") for name in moved)
    assert not any(name.startswith(("division", "backward", "rescale")) for name in moved)
    run.step = run.config.schedule.steps // 2
    before = {name: weight.clone() for name, weight in run.network.named_parameters()}
    run.train_on(batch)
    assert not torch.equal(run.network.backward_mix[0].weight, before["backward_mix.0.weight"])


def test_living_run_that_is_resumed_ends_with_the_same_weights(tmp_path):
    whole = train(LIVING, tmp_path / "whole", device="cpu")
    assert train(LIVING, tmp_path / "parts", device="cpu", stop_after=5) is None
    parts = train(LIVING, tmp_path / "parts", device="cpu", resume=True)
    assert nl.load_model(whole).sha256 == nl.load_model(parts).sha256


def test_run_that_is_told_of_in_other_words_is_resumed(tmp_path):
    assert train(LIVING, tmp_path, device="cpu", stop_after=2) is None
    told = replace(LIVING, history="Two runs.", title="Living")
    assert nl.load_model(train(told, tmp_path, device="cpu", resume=True)).card["title"] == "Living"


def test_log_and_card_tell_dead_channels_and_what_the_mask_does(tmp_path):
    path = train(LIVING, tmp_path, device="cpu")
    validated = [row for row in rows(tmp_path / "log.csv") if row["validation_psnr"]]
    assert all(0 <= float(row["dead_channels"]) < 0.1 for row in validated)
    assert all(float(row["mask_share"]) > 0 and float(row["mask_spread"]) > 0 for row in validated)
    health = nl.load_model(path).card["metrics"]["health"]
    assert set(health) == {"dead_channels", "dead_layers", "mask_share", "mask_spread"}
    assert health["mask_share"] == pytest.approx(float(validated[-1]["mask_share"]), rel=0.05)


def test_run_in_which_a_layer_dies_says_which_and_stops(tmp_path, monkeypatch):
    def kill(network):
        hold_output(network)
        torch.nn.init.constant_(network.correction_decode[0][1].bias, -1e3)

    monkeypatch.setattr(trainer, "hold_output", kill)
    monkeypatch.setattr(loop, "SETTLED", 1)
    config = replace(LIVING, schedule=replace(LIVING.schedule, measured_norms=False))
    with pytest.raises(DeadLayerError, match=r"At step 6 .*correction_decode\.0\.0.*measured_norms = true"):
        train(config, tmp_path, device="cpu")
    assert len(rows(tmp_path / "log.csv")) == 6
    assert float(rows(tmp_path / "log.csv")[-1]["dead_channels"]) > 0
    whole = replace(config, schedule=replace(config.schedule, stop_dead=False))
    assert train(whole, tmp_path / "on", device="cpu") is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"measured_norms": True, "free_norms": 1.0}, "give free_norms = 0"),
        ({"mask_first": 1.5}, "from 0 to 1"),
        ({"intermediate_weight": -1.0}, "at least 0"),
    ],
)
def test_schedule_for_living_networks_refuses_what_cannot_be(change, message):
    with pytest.raises(ValueError, match=message):
        ScheduleConfig(**change)


@pytest.mark.parametrize("name", ["identity_output", "mask_first", "intermediate_weight"])
def test_what_is_for_lucyd_is_refused_for_other_networks(name):
    config = next(iter(RIVALS.values()))
    value = True if name == "identity_output" else 0.5
    with pytest.raises(ValueError, match=f"schedule.{name} is only for LUCYD"):
        replace(config, schedule=replace(config.schedule, **{name: value}))


def test_loss_of_each_patch_counts_a_faint_one_as_much_as_a_bright_one():
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 1, 16, 16, generator=generator)
    bright = truth * torch.tensor([20.0, 0.5]).reshape(2, 1, 1, 1)
    ruined = bright.clone()
    ruined[1] = 0.25  # the faint one is gone
    assert each_loss(bright, bright) == pytest.approx(0, abs=1e-5)
    assert each_loss(ruined, bright) > 20 * lucyd_loss(ruined, bright)
    same = torch.rand(1, 1, 16, 16, generator=generator)
    assert each_loss(same, truth[:1]) == pytest.approx(lucyd_loss(same, truth[:1]).item(), rel=1e-5)
