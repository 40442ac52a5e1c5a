"""The vectors of a corpus: what is accepted as vectors, and how it is checked."""

from nudge_integrations.corpus.vectors import Matrix, as_matrix, as_rows, row_lengths, unit_rows

__all__ = ["Matrix", "as_matrix", "as_rows", "row_lengths", "unit_rows"]
