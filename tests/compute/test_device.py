"""The device, by name and with the reason."""

from __future__ import annotations

import pytest
import torch

from napari_lucyd.compute import device, host_memory
from napari_lucyd.compute.device import Device, choose_device, visible_gpus


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"NVIDIA Test {index}")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda which: (3 * 2**30, 8 * 2**30))


@pytest.fixture
def nothing(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_auto_takes_the_gpu_where_there_is_one(two_gpus):
    assert choose_device() == Device("cuda:0", "NVIDIA Test 0")
    assert choose_device("cuda:1") == Device("cuda:1", "NVIDIA Test 1")
    assert choose_device(torch.device("cuda", 1)).name == "NVIDIA Test 1"
    assert device.free_memory(choose_device("cuda:1")) == 3 * 2**30


def test_a_gpu_that_is_not_there_is_replaced_with_the_reason(two_gpus):
    found = choose_device("cuda:7")
    assert found.torch == "cuda:0" and "only 2 CUDA devices" in found.reason


def test_without_a_gpu_auto_is_the_cpu_without_a_reason(nothing):
    found = choose_device("auto")
    assert (found.torch, found.reason, found.kind) == ("cpu", "", "cpu")
    assert found.name.startswith(f"CPU, {torch.get_num_threads()} thread")


@pytest.mark.parametrize(("wish", "word"), [("cuda", "CUDA was requested"), ("mps", "MPS was requested")])
def test_a_wish_that_cannot_be_met_is_explained(nothing, wish, word):
    found = choose_device(wish)
    assert found.torch == "cpu" and word in found.reason and word in str(found)


@pytest.mark.parametrize("wish", ["gpu", "cuda:x", "", None])
def test_an_unknown_device_is_refused_in_words(wish):
    with pytest.raises((TypeError, ValueError), match=r"device is .*'cuda:1'"):
        choose_device(wish)


def group(folder, limit, used, files=("memory.max", "memory.current", "inactive_file")):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / files[0]).write_text(f"{limit}\n")
    (folder / files[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 600\n{files[2]} 50\n")


def test_the_limit_of_a_container_counts(tmp_path):
    of_process = tmp_path / "of_process"
    of_process.write_text("0::/../../somewhere/else\n")
    assert host_memory.group_limits(tmp_path, of_process) == []
    group(tmp_path, 1000, 700)
    assert host_memory.group_limits(tmp_path, of_process) == [350]
    group(tmp_path, "max", 700)
    assert host_memory.group_limits(tmp_path, of_process) == []
    assert host_memory.group_limits(tmp_path, tmp_path / "absent") == []


def test_the_limit_of_a_batch_job_counts_wherever_it_was_set(tmp_path):
    of_process = tmp_path / "of_process"
    of_process.write_text("0::/system.slice/slurmstepd.scope/job_7/step_batch/user/task_0\n")
    job = tmp_path / "system.slice" / "slurmstepd.scope" / "job_7"
    group(job, 1000, 700)
    group(job / "step_batch" / "user" / "task_0", "max", 650)
    assert host_memory.group_limits(tmp_path, of_process) == [350]
    group(tmp_path / "system.slice", 5000, 4900)
    assert host_memory.group_limits(tmp_path, of_process) == [350, 150]


def test_the_limit_of_a_batch_job_counts_on_an_older_system(tmp_path):
    of_process = tmp_path / "of_process"
    of_process.write_text("9:name=systemd:/job_7\n4:cpu,memory:/slurm/job_7/step_0\n0::/\n")
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    group(tmp_path / "memory" / "slurm" / "job_7", 1000, 700, names)
    assert host_memory.group_limits(tmp_path, of_process) == [350]


def test_free_memory_of_the_host_is_plausible():
    assert 2**24 < device.free_memory(device.cpu()) < 2**50


def test_memory_is_kept_from_run_to_run_only_while_somebody_wants_that(monkeypatch):
    released = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: released.append("device"))
    monkeypatch.setattr(torch.accelerator, "empty_host_cache", lambda: released.append("host"), raising=False)
    gpu = Device("cuda:0", "NVIDIA Test 0")

    with device.keeping_memory():
        with device.keeping_memory():
            device.release_after_run(gpu)
        device.release_after_run(gpu)
        assert released == []
        device.release_memory(gpu)  # as if memory ran out
    assert released == ["device", "device", "host"]
    device.release_after_run(gpu)
    assert released[3:] == ["device"]


def test_gpus_are_called_as_the_environment_calls_them(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == ("0", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,3")
    assert visible_gpus() == ("GPU-a", "3")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert visible_gpus() == ()
