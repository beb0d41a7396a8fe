"""Footer of the Deconvolve panel: estimate, status, preview, Run, progress, and buttons for the results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magicgui.widgets import ComboBox, ProgressBar, PushButton
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QMenu
from superqt import QToggleSwitch

from napari_lucyd._napari.deconvolve.status.likelihood_curve import LikelihoodCurve
from napari_lucyd._napari.widgets.fields import choose
from napari_lucyd._napari.widgets.layout import fill_footer, fixed, note, pass_focus, row, set_note

RUN_KEYS, CANCEL_KEYS, PREVIEW_KEYS = "Ctrl+Return", "Ctrl+.", "Ctrl+Shift+D"
NO_SCORE = "The result of each run is scored here."
_RUN = f"Deconvolve the image. The results are added as new layers. ({RUN_KEYS})"
_RESUME = f"Continue the unfinished run. Finished parts are not computed again. ({RUN_KEYS})"


class Footer(QFrame):
    """Controls that stay visible."""

    def __init__(self) -> None:
        super().__init__()
        # The texts before, in and after a run take the same room: nothing moves when it ends.
        self.estimate = note("lucyd-estimate", lines=3, most=5)
        self.preview = QToggleSwitch("Live preview")
        self.preview_note = note("lucyd-preview", lines=2, most=2)
        self.preview.setToolTip(
            "Shows the result over the image while you browse. It begins at the cursor, and grows and "
            "becomes exact while the view does not move. With Automatic it shows LUCYD; the method is chosen "
            f"when you press Run. ({PREVIEW_KEYS})"
        )
        self.run = PushButton(text="Run", enabled=False, tooltip=_RUN)
        self.cancel = PushButton(
            text="Cancel",
            enabled=False,
            tooltip=f"Stop the run. You can keep the finished part. ({CANCEL_KEYS})",
        )
        self.batch = PushButton(
            text="Batch…", tooltip="Deconvolve all images of a folder, or several layers, into files."
        )
        self.stop_and_keep = PushButton(
            text="Stop and keep",
            tooltip="End the iterations of the current image and keep the estimate so far. While the number "
            "of iterations is still being chosen: use the best number so far.",
        )
        self.stop_and_keep.native.hide()
        self.curve = LikelihoodCurve()
        self.progress = ProgressBar(min=0, max=1, value=0)
        self.status = note("lucyd-status", lines=3, most=3)
        self.score = QToggleSwitch("Score")
        self.score.setChecked(True)
        self.score.setToolTip(
            "After a run, repeats it on two halves of the photons of a sample of the image. A good result of "
            "one half predicts the other half well, so no ground truth is needed. Larger is better; compare "
            "it with the score of the image itself."
        )
        self.score_note = note("lucyd-score", lines=3, most=3)
        for line in (self.preview_note, self.score_note):
            # Beside its switch.
            line.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        set_note(self.score_note, NO_SCORE)
        self.score.toggled.connect(self.score_note.setVisible)
        self.keep = PushButton(
            text="Keep finished part",
            tooltip="Add the finished part as layers; the rest of each layer is empty.",
        )
        self.anyway = PushButton(
            text="Run anyway",
            tooltip="Deconvolve the image with LUCYD, although no method explains its photons better than "
            "the image itself.",
        )
        self.anyway.native.hide()
        self.discard = PushButton(text="Discard", tooltip="Drop the finished part.")
        self.replace = PushButton(
            text="Replace earlier results",
            tooltip="Remove the results of earlier runs with the same image and settings. The new ones "
            "then need no number behind their names.",
        )
        self.replace.native.hide()
        self.use_settings = PushButton(
            text="Use these settings",
            enabled=False,
            tooltip="Enter the settings that the selected result was made with. Select a result first.",
        )
        self.side_by_side = PushButton(
            text="Side by side",
            tooltip="Show image and results in a grid with their names. Press again to go back.",
        )
        self.inspect = PushButton(
            text="Inspect",
            tooltip="Open the Inspect panel: the result beside its image, where each change comes from, and "
            "whether to believe it.",
        )
        self.save = PushButton(
            text="Save…",
            tooltip="Save the selected image layers, or all results of the last run, as OME-TIFF, ImageJ "
            "TIFF or OME-Zarr, with voxel size, unit and recipe.",
        )
        self.save_menu = QMenu(self)
        self.save.native.setMenu(self.save_menu)
        self.save_as = ComboBox(
            choices=[("float32", "float32"), ("uint16", "uint16")],
            tooltip="float32 keeps the values exactly. uint16 files are half as large: true counts if the "
            "values fit, otherwise scaled values; scale and offset are then stored in the file.",
        )
        self.run.native.setObjectName("lucyd-run")
        self.side_by_side.native.setCheckable(True)
        fixed(self.save_as.native)
        bar = self.progress.native
        bar.setTextVisible(True)
        bar.setFormat("")
        self.partial = row(self.keep.native, self.discard.native, stretch=(1, 1))
        self.partial.hide()
        self.results = row(
            *(self.side_by_side.native, self.inspect.native, self.save.native, self.save_as.native),
            stretch=(2, 1, 1, 0),
        )
        for button in (self.side_by_side, self.inspect, self.save, self.save_as):
            button.enabled = False
        # Texts and buttons that appear are above Run, which stays where it was clicked.
        fill_footer(
            self,
            # It covers the end of the form when it appears, and moves nothing.
            self.curve,
            self.estimate,
            self.status,
            # One of them is always there, so the row has its height.
            row(
                *(self.stop_and_keep.native, self.partial, self.anyway.native, self.replace.native),
                self.use_settings.native,
                stretch=(1, 2, 1, 1, 1),
            ),
            row(self.score, self.score_note, stretch=(0, 1)),
            row(self.preview, self.preview_note, stretch=(0, 1)),
            row(self.run.native, self.cancel.native, self.batch.native, stretch=(3, 1, 1)),
            self.progress.native,
            self.results,
        )

    def entries(self) -> dict[str, Any]:
        """Return what is entered, for `enter`."""
        return {"save_as": self.save_as.value, "score": self.score.isChecked()}

    def enter(self, entries: Mapping[str, Any]) -> None:
        """Enter values by name."""
        choose(self.save_as, entries.get("save_as"))
        if "score" in entries:
            self.score.setChecked(bool(entries["score"]))

    def show_resume(self, resumes: bool) -> None:
        """Name the button after what it would do."""
        self.run.text = "Resume" if resumes else "Run"
        self.run.tooltip = _RESUME if resumes else _RUN

    def show_run(self, text: str) -> None:
        """Show that a run is in progress."""
        self.cancel.enabled = True
        starting = (self.run, self.anyway, self.keep, self.discard, self.replace)
        pass_focus([button.native for button in starting], self.cancel.native)
        self.run.enabled = False
        self.partial.hide()
        self.anyway.native.hide()
        self.replace.native.hide()
        self.curve.clear()
        # A bar that moves by itself makes a software renderer compose the whole window at each step.
        self.progress.max, self.progress.value = 1, 0
        self.progress.native.setFormat(text)
        self.status.setToolTip("")

    def hide_partial(self) -> None:
        """Take back the offer to keep the finished part."""
        pass_focus([self.keep.native, self.discard.native], self.run.native)
        self.partial.hide()

    def hide_replace(self) -> None:
        """Take back the offer to replace earlier results."""
        pass_focus([self.replace.native], self.run.native)
        self.replace.native.hide()

    def show_computing(self) -> None:
        """Show that the preparation is over, unless steps were done already."""
        if self.progress.value == 0:
            self.progress.native.setFormat("%p %")

    def show_ready(self) -> None:
        """Empty the progress bar of an earlier run, and take back what it offered and said for its image."""
        self.status.setToolTip("")
        self.progress.max, self.progress.value = 1, 0
        self.anyway.native.hide()
        self.curve.show_points(())

    def show_end(self, *, complete: bool, partial: bool) -> None:
        """Show that no run is in progress.

        Parameters
        ----------
        complete
            True if all results are there.
        partial
            True if there is a finished part that the user may keep.
        """
        self.run.enabled = True
        pass_focus([self.cancel.native, self.stop_and_keep.native], self.run.native)
        self.cancel.enabled = False
        self.stop_and_keep.native.hide()
        self.curve.end()
        self.progress.max, self.progress.value = 1, int(complete)
        self.progress.native.setFormat("")
        self.partial.setVisible(partial)
