"""The examination under the image: as much of it as its room allows."""

from types import SimpleNamespace

import pytest

pytest.importorskip("napari")

from napari_lucyd.referee.scores.score import BLUR_IN_DOUBT, UNDECIDED, WORSE

pytestmark = pytest.mark.napari

LONG = "The noise is not that of photons, so gain and read noise are not given; the image was changed. " * 2
ENDLESS = "The noise is not that of photons " * 9


@pytest.fixture
def room(qtbot):
    """A narrow panel."""
    from qtpy.QtWidgets import QVBoxLayout, QWidget

    from napari_lucyd._napari.widgets.layout import style_sheet

    room = QWidget()
    qtbot.addWidget(room)
    QVBoxLayout(room)
    room.setStyleSheet(style_sheet("#3b4dc9", "#ffffff", "#414851", "#262930"))
    room.resize(300, 200)
    return room


@pytest.fixture
def examination(room, qtbot):
    from napari_lucyd._napari.deconvolve.status.referee_lines import ExaminationLine

    examination = ExaminationLine(lambda: None, None, lambda: False, lambda: room.isEnabled(), room)
    room.layout().addWidget(examination.line)
    room.show()
    qtbot.waitUntil(lambda: examination.work.settled, timeout=20_000)
    return examination


def found(*warnings):
    summary = "noise 2 % of the range, blur 1.1 voxels, use lucyd"
    return SimpleNamespace(summary=summary, warnings=warnings, channel=None, channels=())


@pytest.mark.parametrize(
    ("warnings", "end"),
    [
        ((), "use lucyd."),
        (("Short.",), "Short."),
        (("Short.", "Also."), "Also."),
        (("Short.", LONG), "Short.\n1 more: hold the mouse here."),
        # The first sentence of a warning that does not fit is shown.
        (("Check the NA. " + LONG,), "use lucyd.\nCheck the NA."),
        (("Check the NA. " + LONG, LONG), "Check the NA. 1 more: hold the mouse here."),
        ((LONG,), "use lucyd.\n" + LONG[: len(LONG) // 2].strip()),
        ((ENDLESS,), "use lucyd.\n" + ENDLESS),
        ((ENDLESS, LONG, LONG), "use lucyd.\n3 warnings: hold the mouse here."),
    ],
)
def test_the_text_is_never_cut(examination, warnings, end):
    line = examination.line
    examination._show(found(*warnings))
    assert line.text().endswith(end)
    assert line.heightForWidth(line.width()) <= line.height()
    assert line.property("problem") is bool(warnings)
    assert all(text.strip() in line.toolTip() for text in warnings)


def test_the_beginning_of_a_single_warning_is_seen_where_its_first_sentence_does_not_fit(examination):
    examination._show(found(ENDLESS))
    shown = examination.line.shown.splitlines()[-1]
    assert shown.startswith("The noise is not that of photons The noise") and " … (hold" in shown
    assert ENDLESS.strip() in examination.line.toolTip()


def test_it_follows_the_width(examination, qtbot):
    examination._show(found("Short.", LONG))
    line, narrow = examination.line, examination.line.text()
    line.window().resize(1500, 200)
    qtbot.waitUntil(lambda: line.text().endswith(LONG), timeout=20_000)
    line.window().resize(300, 200)
    qtbot.waitUntil(lambda: line.text() == narrow, timeout=20_000)


def test_the_voxel_size_is_left_to_its_fields(examination):
    from napari_lucyd.referee.advice import UNKNOWN_VOXEL_SIZE

    examination._show(found(UNKNOWN_VOXEL_SIZE))
    assert examination.line.text().endswith("use lucyd.")
    assert UNKNOWN_VOXEL_SIZE in examination.line.toolTip()


def test_a_flash_is_said_in_the_words_of_the_window_while_time_points_share_a_scaling(examination, room):
    from napari_lucyd.deconvolution.findings import FLASH_FRAME, Finding

    flash = Finding(
        "T 3 is bright: scale each time point by itself (separate='TC', --separate TC).", FLASH_FRAME
    )
    examination._show(found(flash))
    assert "choose Statistics ▸ Per channel and time point" in examination.line.text()
    room.setEnabled(False)
    examination.write()
    assert "T 3" not in examination.line.text()


REASON = "The noise is not that of photons: the image was averaged."


def test_the_noise_of_an_image_is_said_under_it_only(examination):
    from napari_lucyd._napari.deconvolve.status.referee_lines import ExaminationRequest
    from napari_lucyd.deconvolution.findings import TOO_NOISY, Finding

    noise = Finding("The noise is about 30 % of the image's contrast.", TOO_NOISY)
    lines = ("Done in 3 s: “cells”.", noise, f"The photons do not show how wide the blur is: {REASON} More.")
    # Nothing is said under the image yet.
    assert examination.without_repeats(lines) == list(lines)
    examination.found = found(Finding("The noise is 31 % of the range.", TOO_NOISY))
    examination.found.channels, examination.found.poisson, examination.found.poisson_reason = (
        (),
        False,
        REASON,
    )
    examination._last = ExaminationRequest(SimpleNamespace(name="cells"), "ZYX", None)
    assert examination.without_repeats(lines) == [
        lines[0],
        "The photons do not show how wide the blur is: see the noise under Image. More.",
    ]
    assert (
        examination.refer(f"No held-out score: {REASON}") == "No held-out score: see the noise under Image."
    )
    # Nothing is known about another image.
    assert examination.without_repeats(("Done in 3 s: “other”.", noise)) == ["Done in 3 s: “other”.", noise]
    # The examination may find less noise than the run.
    examination.found.warnings = ()
    assert noise in examination.without_repeats(lines)


def score_line(room):
    """Make a score's line in a panel, and the session that it follows."""
    from qtpy.QtCore import QObject, Signal
    from superqt import QToggleSwitch

    from napari_lucyd._napari.deconvolve.status.referee_lines import ScoreLine
    from napari_lucyd._napari.widgets.layout import note

    class Session(QObject):
        started, finished, ended = Signal(), Signal(object), Signal()
        results = ()

    session, line, switch = Session(room), note("lucyd-score", lines=3, most=3), QToggleSwitch(parent=room)
    room.layout().addWidget(line)
    room.show()
    switch.setChecked(True)
    return session, line, ScoreLine(switch, line, session, str, lambda: False, room)


@pytest.mark.parametrize(
    ("verdict", "begins"),
    [("Worse than the image.", "Worse than the image. Wiener"), ("", "Wiener · Held-out score 0.5")],
)
def test_a_bad_result_stands_out_and_the_tooltip_names_the_blur(verdict, begins, room, qtbot):
    session, line, score = score_line(room)
    found = SimpleNamespace(
        verdict=verdict,
        summary="Held-out score 0.5",
        held_out=0.5,
        blur="the blur that was given",
    )
    task = SimpleNamespace(source=SimpleNamespace(name="cells", data=None))
    # The line names the method of its run, whichever is chosen afterwards.
    session.finished.emit(SimpleNamespace(complete=True, method="Wiener", task=task, result=None))
    score.work.ready.emit(found)
    assert line.text().startswith(begins) and line.text().endswith("Wiener · Held-out score 0.5")
    assert line.property("problem") is bool(verdict)
    assert "with the blur that was given" in line.toolTip() and "Held-out scores" in line.toolTip()
    assert "above 1" not in line.toolTip()
    found.held_out = 1.02
    score.work.ready.emit(found)
    assert "a score above 1 is no better" in line.toolTip()


@pytest.mark.parametrize("width", [330, 290])
def test_a_verdict_leaves_room_for_all_numbers_and_the_tooltip_has_its_advice(width, room, qtbot):
    session, line, score = score_line(room)
    room.resize(width, 200)
    qtbot.waitUntil(lambda: line.width() > width - 30)
    task = SimpleNamespace(source=SimpleNamespace(name="cells", data=None))
    session.finished.emit(SimpleNamespace(complete=True, method="Wiener", task=task, result=None))
    summary = (
        "T 1, C 0: Held-out score 0.523 ± 0.012 (image 0.600) · reproduced to 4.5 voxels (image 6.1 voxels) "
        "· residual correlation 0.61 · light 101 %"
    )
    for verdict, begin, advice in (
        (WORSE, "Worse than the image. T 1", "check the blur and the settings"),
        (BLUR_IN_DOUBT, "More than noise is left. T 1", "the PSF or blur may be wrong"),
        (UNDECIDED, "Photons do not decide. T 1", "too few to say that the result is better"),
    ):
        score._show(SimpleNamespace(verdict=verdict, summary=summary, held_out=0.5, blur="it"))
        assert line.shown.startswith(begin) and line.property("problem")
        assert advice in line.toolTip()
        # A panel is wider than 300 pixels; whatever is cut in less is in the tooltip.
        assert line.shown.endswith("light 101 %") if width > 300 else "light 101 %" in line.toolTip()


@pytest.mark.parametrize(
    ("numbers", "begin"),
    [
        ("", "Semi-blind Richardson-Lucy with 12 to 60 iterations · T 1, C 0: Held-out score 0.5"),
        (" · reproduced to 4.5 voxels (image 6.1 voxels)", "Semi-blind Richardson-Lucy · T 1, C 0: Held-out"),
        (" · reproduced to 4.5 voxels (image 6.1 voxels)" + " · number" * 3, "T 1, C 0: Held-out"),
    ],
)
def test_a_long_name_of_a_method_leaves_room_for_all_numbers(numbers, begin, room, qtbot):
    from napari_lucyd._napari.deconvolve.task import MOST_TRIED

    session, line, score = score_line(room)
    room.resize(330, 200)
    qtbot.waitUntil(lambda: line.width() > 300)
    method = f"Semi-blind Richardson-Lucy with 12 to 60 iterations{MOST_TRIED}"
    task = SimpleNamespace(source=SimpleNamespace(name="cells", data=None))
    session.finished.emit(SimpleNamespace(complete=True, method=method, task=task, result=None))
    summary = f"T 1, C 0: Held-out score 0.523 ± 0.012 (image 0.100){numbers} · light 101 %"
    score._show(SimpleNamespace(verdict="", summary=summary, held_out=0.5, blur="it"))
    assert line.shown.startswith(begin) and line.shown.endswith("light 101 %")
    assert method in line.toolTip()


def test_the_channel_with_the_most_noise_is_named(examination):
    several = found()
    several.channel, several.channels = 1, (found(), found())
    examination._show(several)
    assert examination.line.text().startswith("Found in C 1: noise 2 %")
    examination._show(found())
    assert examination.line.text().startswith("Found: noise 2 %")
