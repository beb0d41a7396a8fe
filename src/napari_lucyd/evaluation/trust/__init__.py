"""Trust suite: tests of methods on empty fields, beads, pairs of points, levels and total intensity."""
