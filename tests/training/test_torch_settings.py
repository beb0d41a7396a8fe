"""Training does not depend on torch's settings that other code in the process has changed."""

from __future__ import annotations

import pytest
import torch

from napari_lucyd.training import train
from small_training import SMALL


def test_defaults_and_autocast_of_others_change_nothing(tmp_path):
    expected = train(SMALL, tmp_path / "plain", device="cpu").read_bytes()
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = train(SMALL, tmp_path / "other", device="cpu").read_bytes()
        assert torch.get_default_dtype() == torch.float64
        assert torch.get_default_device().type == "meta"
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    assert found == expected


def test_an_error_leaves_the_settings_as_they_were(tmp_path):
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(ValueError, match="device"):
            train(SMALL, tmp_path, device="nonsense")
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
