"""The benchmarks run, on tiny sizes, and their page says what is in their records."""

from __future__ import annotations

import argparse
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"
RECORDS = (
    ("startup", ()),
    ("roofline", ()),
    ("forward", ()),
    ("other_networks", ()),
    ("throughput", ()),
    ("small_volumes", ()),
    ("estimates", ()),
    ("halo", ()),
    ("out_of_core", ()),
    ("host", ()),
    ("preview", ()),
    ("training_step", ()),
    ("rivals", ()),
    ("gpu", ("--device", "cpu")),
)


@pytest.fixture
def script(monkeypatch):
    """Import a script of the benchmarks as its siblings do."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> Path:
    """The folder that all of them write into."""
    return tmp_path_factory.mktemp("docs") / "benchmarks"


@pytest.mark.parametrize(("name", "options"), RECORDS, ids=[name for name, _ in RECORDS])
def test_each_benchmark_runs_and_says_on_what(script, records, name, options):
    threads = torch.get_num_threads()

    script(name).main(["--quick", "--output", str(records), *options])

    record = json.loads((records / f"{name}.json").read_text("utf-8"))
    assert record["quick"]
    machine = record["machine"]
    assert machine["cores"] >= 1 and machine["processor"] and machine["system"]
    assert machine["torch"] == torch.__version__.split("+")[0]
    assert re.fullmatch(r"[0-9a-f]{12}\+?|unknown", machine["commit"])
    assert torch.get_num_threads() == threads


def test_the_routes_on_the_cpu_are_compared(script, capsys):
    script("kernels").main(["--quick"])

    text = capsys.readouterr().out
    rows = {line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")}
    assert {"float32 multiply-add", "8 → 4, 3³", "the pass", "general"} <= rows


def test_the_page_holds_what_was_measured_and_warns_of_a_smoke_run(script, records):
    present = {path.stem for path in records.glob("*.json")}
    if not present:
        pytest.skip("none of the benchmarks was run before")
    script("page").main(["--output", str(records), "--no-plots"])

    text = records.with_suffix(".md").read_text("utf-8")
    assert "come from a smoke run" in text
    for name, _ in RECORDS:
        assert (f"benchmarks/{name}.py" in text) == (name not in present and name != "gpu")
    assert "None" not in text


def test_the_page_without_records_names_everything_as_not_measured(script, tmp_path):
    script("page").main(["--output", str(tmp_path / "benchmarks"), "--no-plots"])

    text = (tmp_path / "benchmarks.md").read_text("utf-8")
    assert text.count("| – | not measured |") == len(script("page").bars({}))
    assert "tests that need one were skipped" in text


def test_the_page_in_the_docs_is_what_its_records_give(script):
    page, docs = script("page"), FOLDER.parent / "docs"
    options = argparse.Namespace(plots=True, page=docs / "benchmarks.md", images=docs / "images")
    records, others = page.load(docs / "benchmarks"), page.load_others(docs / "benchmarks")
    assert options.page.read_text("utf-8") == page.render(records, others, options)
    table = options.page.read_text("utf-8").split("## Aims")[1].split("##")[0]
    for other in others:
        assert f"| on {other['forward']['machine']['processor']} |" in table


def test_every_plot_can_be_drawn(script, records, tmp_path):
    pytest.importorskip("matplotlib")
    plots = script("plots")
    found = script("page").load(records)

    plots.draw(found, tmp_path)

    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == {f"bench-{name}.png" for name in plots.PLOTS if name in found}


def test_an_aim_is_reached_by_the_number_that_is_measured(script):
    page = script("page")
    assert page.at_least("", 4, 4.1).reached and not page.at_least("", 4, 3.9).reached
    assert page.at_most("", 0.05, 0.04).reached and not page.at_most("", 0.05, 0.06).reached
    run = {"work_ratio": 1.2, "bytes": 3 * 2**30}
    records = {"halo": {"limit_bytes": 2 * 2**30, "runs": [run, {"work_ratio": 1.4, "bytes": 2**30}]}}
    # Each run stays within one of the two limits, and none within both.
    assert page.halo_bar(records).reached is False
    run["bytes"] = 2**30
    assert page.halo_bar(records).reached is True


def test_turns_are_compared_with_those_beside_them(script):
    # The machine was half as fast in the second round, which met both.
    assert script("record").ratio([2.0, 4.0, 2.0], [1.0, 2.0, 1.0]) == 2


def test_the_peak_of_memory_is_seen(script):
    code = (
        "import record, numpy; before = record.forget_peak(); numpy.ones(2**24); "
        "print(record.peak_bytes() - before)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=FOLDER, check=True, capture_output=True, text=True)
    # The 134 MB of the array, more or less, since other memory is freed and loaded.
    assert 0.9 * 2**27 <= int(done.stdout) < 1.5 * 2**27


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_without_a_gpu_its_benchmark_says_so_and_keeps_the_record(script, tmp_path, capsys):
    script("gpu").main(["--output", str(tmp_path)])

    assert capsys.readouterr().out.startswith("gpu: not measured, because ")
    assert not list(tmp_path.iterdir())
