"""``lucyd export``: the file is named, and what cannot be is said."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from napari_lucyd.cli import app

pytest.importorskip("onnxscript")


def lucyd(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_file_is_written_and_not_replaced(tmp_path, model_files):
    out = tmp_path / "model.onnx"
    done = lucyd("export", model_files[2], "-o", out)
    assert done.exit_code == 0, done.output
    assert done.stdout.split() == [str(out)]
    again = lucyd("export", model_files[2], "-o", out)
    assert again.exit_code == 1
    assert "exists" in again.stderr


def test_an_unknown_model_is_named(tmp_path):
    done = lucyd("export", "nosuch", "-o", tmp_path / "model.onnx")
    assert done.exit_code == 1
    assert "nosuch" in done.stderr
    assert not list(tmp_path.iterdir())
