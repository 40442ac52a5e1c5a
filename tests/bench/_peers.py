"""The reference implementation (nudge-ft on PyPI), called as its own documentation calls it, and silenced."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import torch
from _labelled import FloatArray, Labels

NAMES = {"nudge-ft N": "NUDGEN", "nudge-ft M": "NUDGEM"}


def _answers(labels: Labels) -> dict[str, Any]:
    pointers, columns = labels.gains.indptr, labels.gains.indices
    indices = [columns[pointers[row] : pointers[row + 1]].tolist() for row in range(len(labels))]
    return {"q_embs": labels.queries, "q_ans_indx": indices}


def finetune(name: str, documents: FloatArray, train: Labels, validation: Labels) -> FloatArray:
    """Fine-tune all documents with one of ``NAMES``, tuned on ``validation``; serve the result by inner product."""
    import nudge

    tuner = getattr(nudge, NAMES[name])(device=torch.device("cpu"))
    with contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        moved = tuner.finetune_embeddings(documents, _answers(train), _answers(validation))
    return np.asarray(moved, dtype=np.float32)
