"""Plans and times what Run would do, in the background, whenever the choices have come to rest."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]
from superqt.utils import create_worker

from napari_lucyd._napari.deconvolve.planning import estimate
from napari_lucyd._napari.deconvolve.task import Estimate, ImageTask
from napari_lucyd._napari.deconvolve.zarr_plan import disk_line
from napari_lucyd._napari.workers.events import Stop, explain
from napari_lucyd.text import bytes_text, duration_text

# So that dragging a slider does not start an estimate a step.
SETTLE_MS = 250


class Estimator(QObject):
    """Keeps the estimates up to date.

    Parameters
    ----------
    tasks
        Called on the window's thread: what Run would do now; raises ValueError where it could not.
    busy
        Whether a run is on. Estimates wait for its end: both want the same processors.
    parent
        Qt's owner.
    """

    ready = Signal(object)
    """Estimates, a list with one for each image."""
    refused = Signal(str)
    """The choices cannot be carried out; the text says why."""

    def __init__(
        self, tasks: Callable[[], list[ImageTask]], busy: Callable[[], bool], parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._tasks = tasks
        self._busy = busy
        self._working = self._stale = False
        # A PSF can take seconds to compute, for choices that are no longer wanted or a panel that is gone.
        self._gone = Stop()
        self.destroyed.connect(self._gone.set)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLE_MS)
        self._timer.timeout.connect(self._begin)

    @property
    def settled(self) -> bool:
        """Whether the last estimate is of the present choices."""
        return not self._stale and not self._working

    def refresh(self, *_: object) -> None:
        """The choices have changed."""
        self._stale = True
        self._timer.start()

    def hold(self) -> None:
        """Wait for the next change."""
        self._timer.stop()

    def _begin(self) -> None:
        if self._working or self._busy():
            return
        self._stale = False
        try:
            tasks = self._tasks()
        except ValueError as error:
            self.refused.emit(str(error))
            return
        self._working = True
        # Errors are told of here; otherwise superqt raises them in the window's thread as well.
        worker = create_worker(estimate, tasks, self._unwanted, _start_thread=False, _ignore_errors=True)
        worker.returned.connect(self._on_returned)
        worker.errored.connect(self._on_errored)
        worker.start()

    def _unwanted(self) -> bool:
        return self._stale or self._gone()

    def _on_returned(self, estimates: list[Estimate]) -> None:
        self._working = False
        if self._stale:
            self._timer.start()
        else:
            self.ready.emit(estimates)

    def _on_errored(self, error: Exception) -> None:
        self._working = False
        self.refused.emit(explain(error))


def estimate_lines(estimates: list[Estimate]) -> list[str]:
    """What to expect of a run, in words: time, memory, work, device, disk; then what to be warned of.

    Memory is that of the largest image with the results of all.
    """
    planned = [(entry.job, entry.seconds or 0.0) for entry in estimates if entry.job is not None]
    lines = []
    if planned:
        jobs = [job for job, _ in planned]
        seconds = sum(each for _, each in planned)
        memory = max((entry.store or entry.job).memory_bytes for entry in estimates if entry.job)
        work = {job.work for job in jobs}
        each = f"{len(jobs)} images, {work.pop()} each" if len(work) == 1 else f"{len(jobs)} images"
        time = duration_text(seconds)
        lines.append(
            f"{time.capitalize() if seconds < 1 else f'About {time}'} and {bytes_text(memory)} of memory: "
            f"{each if len(jobs) > 1 else jobs[0].work} on {jobs[0].device.name}."
        )
        stores = [entry.store for entry in estimates if entry.store is not None]
        lines += [disk_line(stores)] if stores else []
        lines += dict.fromkeys(str(warning) for job in jobs for warning in job.warnings)
    lines += [f"“{entry.task.source.name}”: {entry.error}" for entry in estimates if entry.error]
    return lines
