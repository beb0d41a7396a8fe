"""Scores of a result without a truth, and what they are made of."""
