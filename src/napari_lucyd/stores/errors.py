"""What can go wrong with a store."""

from __future__ import annotations


class StoreError(ValueError):
    """A store cannot be begun, gone on with or finished; the message says why and what to do."""
