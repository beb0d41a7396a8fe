"""The room of photons stands alone: no method, no network, no window."""

from __future__ import annotations

import subprocess
import sys


def test_it_imports_neither_torch_nor_any_other_room():
    code = (
        "import sys, napari_lucyd.photons; "
        "own = sorted(name for name in sys.modules if name.startswith('napari_lucyd.')); "
        "own.remove('napari_lucyd.text'); "  # below all rooms: how numbers are written
        "assert all(name.startswith('napari_lucyd.photons') for name in own), own; "
        "assert 'torch' not in sys.modules and 'napari' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
