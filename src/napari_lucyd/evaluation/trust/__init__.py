"""The trust suite: what methods do to empty fields, beads, pairs of points, levels and total light."""
