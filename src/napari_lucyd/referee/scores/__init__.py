"""Scores of a result without a truth, and their parts."""
