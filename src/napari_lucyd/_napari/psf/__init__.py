"""The panel's point-spread function: where it comes from, and its controls."""
