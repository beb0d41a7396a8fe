"""Findings: the warnings of a job, which its run adds to."""

from __future__ import annotations

from napari_lucyd.text import count_text

ONLY_ZEROS = "only zeros"
"""Kind: a network returned only zeros for a volume."""
NEGATIVE_VOXELS = "negative voxels"
"""Kind: negative voxels were set to 0."""
FLASH_FRAME = "flash frame"
"""Kind: a time point is far brighter than the others and changes the scaling of all."""
EMPTY_PLANES = "empty planes"
"""Kind: planes at an end of the stack hold one value only."""
SPARSE_OBJECTS = "sparse objects"
"""Kind: a few bright voxels lie far from all others."""

TOO_NOISY = "too noisy"
"""Kind: an image has more noise than the model's training data."""
BLUR_FOUND = "blur found"
"""Kind: no blur was given, so one was found in the image, or assumed."""
SETTINGS = "settings"
"""Kind: about the PSF, the device or another setting, so it is true of every image of a batch."""


class Finding(str):
    """A sentence for the user, with its kind.

    Parameters
    ----------
    text
        The sentence.
    kind
        Name by which code recognises the finding; empty if no code has to.
    brief
        The same in a few words, for a list of many images; empty if there are none.
    """

    kind: str
    brief: str

    def __new__(cls, text: str, kind: str = "", brief: str = "") -> Finding:  # noqa: D102
        finding = super().__new__(cls, text)
        finding.kind = kind
        finding.brief = brief
        return finding


def negative_voxels_text(count: int) -> str:
    """Say how many negative voxels were set to 0."""
    were = count_text(count, "voxel was", "voxels were")
    return (
        f"{were} negative, which Richardson-Lucy does not allow, and set to 0. If an "
        "offset was subtracted from the image, add it again and enter it as the background."
    )


class Findings(list[str]):
    """The warnings of a job, in order, each once.

    A job shares them with its run. The run does not need the job itself, which would keep both in memory
    until the garbage collector runs.
    """

    def add(self, text: str, kind: str = "") -> None:
        """Add a sentence unless the list has it."""
        if text not in self:
            brief = text.brief if isinstance(text, Finding) else ""
            self.append(Finding(text, kind or kind_of(text), brief))

    def update(self, text: str, kind: str) -> None:
        """Add a sentence, and remove earlier ones of its kind."""
        self[:] = [other for other in self if kind_of(other) != kind]
        self.append(Finding(text, kind))


def kind_of(text: str) -> str:
    """Return the kind of a finding; empty for plain text."""
    return text.kind if isinstance(text, Finding) else ""
