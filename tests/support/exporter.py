"""A mark for tests that export a model."""

from __future__ import annotations

import pytest

from napari_lucyd.export.onnx_file import unsupported_reason

_REASON = unsupported_reason()

needs_exporter = pytest.mark.skipif(_REASON is not None, reason=str(_REASON))
