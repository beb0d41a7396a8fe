"""Lines about trust: the examination of the image before a run, and the score of the result after it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, Signal  # type: ignore[attr-defined]
from superqt import QToggleSwitch

from napari_lucyd._napari.deconvolve.choices.microscope import MicroscopeSection
from napari_lucyd._napari.deconvolve.session import DeconvolveSession
from napari_lucyd._napari.deconvolve.status.footer import NO_SCORE
from napari_lucyd._napari.deconvolve.task import MOST_TRIED, Finished
from napari_lucyd._napari.layers.coordinates import shown_volume
from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.psf.optics import OpticsPsf
from napari_lucyd._napari.psf.origins import PsfSource
from napari_lucyd._napari.widgets.layout import Note, note, plain_tooltip, set_note
from napari_lucyd._napari.workers import torch_loading
from napari_lucyd._napari.workers.latest import LatestOnly
from napari_lucyd._napari.workers.window_words import in_window_words
from napari_lucyd.deconvolution.findings import FLASH_FRAME, TOO_NOISY, kind_of

if TYPE_CHECKING:
    from napari_lucyd.referee import Examination, ResultScore

_SETTLE_MS = 400
# More lines would push the settings out of a small window; the tooltip has all.
_WARNINGS = 2
OWN_BLUR = (
    "Result and image are both judged with {}. Another run may be judged with another blur, and such scores "
    "cannot be compared. Compare ▸ Held-out scores judges all results with the same blur."
)
_IN_FILES = "Results in files are not scored here. Press Score in the Inspect panel."
_NOISE_ABOVE = "see the noise under Image."


@dataclass(frozen=True)
class ExaminationRequest:
    """An image to examine.

    Parameters
    ----------
    source
        The image.
    axes
        Its axes.
    blur
        Source of the PSF; only a microscope counts.
    """

    source: SourceLayer
    axes: str
    blur: PsfSource | None

    @property
    def key(self) -> Any:
        """See `LatestOnly`."""
        sizes = tuple(sorted(self.source.sizes_um.items()))
        return id(self.source.data), self.axes, sizes, self.source.steps, repr(self.blur)


class ExaminationLine(QObject):
    """Examines the shown image in a worker, and writes a line.

    Parameters
    ----------
    image
        Returns the image and its axes, or None; raises ValueError if its settings are not valid.
    microscope
        The choice of the blur.
    is_busy
        True while the examination has to wait: during a run, and while a file is still being read.
    shares_scaling
        True if all time points would be scaled together; otherwise a flash frame does no harm.
    parent
        Qt's owner.
    """

    examined = Signal(object)
    """The `Examination` of the shown image, or None."""

    def __init__(
        self,
        image: Callable[[], tuple[SourceLayer, str] | None],
        microscope: MicroscopeSection,
        is_busy: Callable[[], bool],
        shares_scaling: Callable[[], bool],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._shares_scaling = shares_scaling
        self.line = note("lucyd-examination", lines=4, most=4)
        self.line.installEventFilter(self)
        self.found: Examination | None = None
        self._image, self._microscope, self._is_busy = image, microscope, is_busy
        self._last: ExaminationRequest | None = None
        self._data: Any = None
        self.work = LatestOnly(self._wanted, examine_image, _SETTLE_MS, self)
        self.work.began.connect(lambda: set_note(self.line, "Examining the image…"))
        self.work.ready.connect(self._show)
        # The estimate above Run reports settings that are not valid.
        self.work.failed.connect(lambda _: self._show(None))
        self.refresh = self.work.refresh
        self.refresh()

    def _wanted(self) -> ExaminationRequest | None:
        if self._is_busy():
            return self._last
        shown = self._image()
        self._last = None
        if shown is not None:
            blur: PsfSource | None = None
            with contextlib.suppress(ValueError):  # incomplete optics do not describe a microscope yet
                blur = self._microscope.choice(needed=False)
            self._last = ExaminationRequest(*shown, blur)
        return self._last

    def _show(self, found: Examination | None) -> None:
        self.found = found
        self._data = None if found is None or self._last is None else self._last.source.data
        self.write()
        self.line.setToolTip(plain_tooltip("" if found is None else in_window_words(str(found))))
        self.examined.emit(found)

    def found_in(self, source: SourceLayer) -> Examination | None:
        """Return the examination of an image; None if another one is shown, or it was not examined yet."""
        return self.found if self._data is source.data else None

    def without_repeats(self, lines: Sequence[str]) -> list[str]:
        """Return the lines about a run without those on noise and flashes that this line says of its image.

        Parameters
        ----------
        lines
            Lines, of which the first one names the image.
        """
        if self.found is None or self._last is None or f"“{self._last.source.name}”" not in lines[0]:
            return list(lines)
        said = {kind_of(text) for text in self.found.warnings} & {TOO_NOISY, FLASH_FRAME}
        return [self.refer(text) for text in lines if kind_of(text) not in said]

    def refer(self, text: str) -> str:
        """Return a text that points to this line instead of repeating its sentence on the noise."""
        for part in () if self.found is None else self.found.channels or (self.found,):
            if not part.poisson:
                text = text.replace(f": {part.poisson_reason}", f": {_NOISE_ABOVE}")
        return text

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Write again when the line gets another width."""
        if event is not None and event.type() == QEvent.Type.Resize and self.found is not None:
            self.write()
        return super().eventFilter(watched, event)

    def write(self) -> None:
        """Write as many warnings as fit, because the text must not move the controls below it."""
        if self.found is None:
            set_note(self.line, "")
            return
        from napari_lucyd.referee.advice import UNKNOWN_VOXEL_SIZE

        # The fields above say the voxel size.
        flashes_count = self._shares_scaling()
        warnings = [
            in_window_words(text)
            for text in self.found.warnings
            if text != UNKNOWN_VOXEL_SIZE and (flashes_count or kind_of(text) != FLASH_FRAME)
        ]
        channel = f" in C {self.found.channel}" if self.found.channels else ""
        total, found = len(warnings), f"Found{channel}: {self.found.summary}."
        texts = []
        for count in range(min(total, _WARNINGS), 0, -1):
            left = [f"{total - count} more: hold the mouse here."] if total > count else []
            texts.append("\n".join([found, *warnings[:count], *left]))
        if warnings:
            # The first sentence of a long warning says what to do.
            first = warnings[0].partition(". ")[0].rstrip(".")
            more = f" {total - 1} more: hold the mouse here." if total > 1 else ""
            texts += [f"{found}\n{first}.{more}", f"{found}\n{first}."]
            # The line shortens a single one, so that its beginning is seen.
            last = f"{total} warnings: hold the mouse here." if total > 1 else warnings[0]
            texts.append(f"{found}\n{last}")
        for text in texts or [found]:
            set_note(self.line, text, problem=bool(warnings))
            if self.line.shown == text:
                return


@dataclass(frozen=True)
class ScoreRequest:
    """An image, the result of its run, and the volume to judge, by leading axis; None: none is shown."""

    image: Any
    result: Any
    volume: Mapping[str, int] | None = None

    @property
    def key(self) -> Any:
        """See `LatestOnly`."""
        return id(self.image), id(self.result), repr(self.volume)


class ScoreLine(QObject):
    """Scores the result of each run in memory in a worker, and writes a line.

    Parameters
    ----------
    switch
        Switches it on and off.
    line
        The line of text.
    session
        The runs.
    refer
        Shortens a text by what stands elsewhere; see `ExaminationLine.refer`.
    is_into_files
        True if the results of the next run are kept in files.
    parent
        Qt's owner.
    """

    def __init__(
        self,
        switch: QToggleSwitch,
        line: Note,
        session: DeconvolveSession,
        refer: Callable[[str], str],
        is_into_files: Callable[[], bool],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._switch, self.line, self._refer, self._session = switch, line, refer, session
        self._is_into_files = is_into_files
        self._wanted: ScoreRequest | None = None
        self._about = self._method = ""
        self.work = LatestOnly(lambda: self._wanted, score_result, 0, self)
        self.work.began.connect(lambda: set_note(line, "Scoring the result…"))
        self.work.ready.connect(self._show)
        self.work.failed.connect(lambda text: set_note(line, self._named(refer(f"No score: {text}"))))
        session.started.connect(self.clear)
        session.finished.connect(self._on_finished)
        session.ended.connect(self._on_ended)
        switch.toggled.connect(self.clear)
        self.write()

    def clear(self, *_: Any) -> None:
        """Empty the line; a score that is being computed is dropped."""
        self._wanted = None
        self.work.refresh()
        self.write()

    def write(self) -> None:
        """Say whether the result of the next run is scored, unless there is a score, or one is coming."""
        if self._wanted is None:
            set_note(self.line, _IN_FILES if self._is_into_files() else NO_SCORE)
            self.line.setToolTip("")

    def _show(self, found: ResultScore | None) -> None:
        if found is None:
            self.write()
            return
        verdict = found.verdict
        text = self._refer(found.summary)
        # The room is for the numbers; the tooltip has the whole name and the verdict's advice.
        brief = self._method.partition(" with ")[0]
        short = f"{verdict.partition(':')[0]}." if verdict else ""
        named = [(verdict, self._named(text)), (verdict, f"{brief} · {text}" if brief else text)]
        for parts in (*named, (verdict, text), (short, text)):
            set_note(self.line, " ".join(filter(None, parts)), problem=bool(verdict))
            if self.line.shown == self.line.text():
                break
        about = [self._about, verdict]
        if found.held_out is not None:
            from napari_lucyd.referee.scores.score import note_above_one

            about += [OWN_BLUR.format(found.blur), note_above_one(found.held_out)]
        self.line.setToolTip(plain_tooltip(" ".join(filter(None, about))))

    def _named(self, text: str) -> str:
        """Return a text with the method of its run, because another one may be chosen by now."""
        return f"{self._method} · {text}" if self._method else text

    def _on_ended(self) -> None:
        session = self._session
        if self._wanted is not None and session.results:
            # The parts of a result have the same volumes, and the last result is that of the last image.
            volume = shown_volume(session.viewer, session.results[-1])
            self._wanted = replace(self._wanted, volume=volume)
        self.work.refresh()

    def _on_finished(self, event: Finished) -> None:
        # The score itself waits for the end of the run.
        if self._switch.isChecked() and event.complete:
            self._method = event.method.removesuffix(MOST_TRIED)
            by = f", deconvolved by {event.method}" if event.method else ""
            self._about = f"Score of “{event.task.source.name}”{by}."
            self.line.setToolTip(plain_tooltip(self._about))
            self._wanted = ScoreRequest(event.task.source.data, event.result)


def examine_image(request: ExaminationRequest, should_stop: Callable[[], bool]) -> Examination:
    """Examine an image; call it in a worker thread."""
    torch_loading.load()
    from napari_lucyd.referee import examine

    source = request.source.informed()
    steps = source.voxel_size_um(request.axes)
    microscope: Any = None
    if isinstance(request.blur, OpticsPsf) and steps is not None:
        microscope = request.blur.told(source, request.axes).get("microscope")
    return examine(
        source.data, voxel_size=steps, microscope=microscope, axes=request.axes, should_stop=should_stop
    )


def score_result(request: ScoreRequest, should_stop: Callable[[], bool]) -> ResultScore:
    """Score a result by photons that it has not seen; call it in a worker thread."""
    torch_loading.load()
    from napari_lucyd.referee import score

    return score(request.image, request.result, volume=request.volume)
