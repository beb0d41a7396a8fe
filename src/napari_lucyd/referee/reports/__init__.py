"""Report of a run: what was done, the score, figures, and a paragraph for the methods of a paper."""
