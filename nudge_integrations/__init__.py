"""Better retrieval from labelled queries: move the document vectors a little, keep the model.

    RetrievalDataset        a corpus, queries and relevance labels
          |
    Encoder                 texts -> vectors: SentenceTransformerEncoder, CachedEncoder, or any class with two methods
          |
    Corpus                  vectors that can be searched: ArrayCorpus, or any class with three methods and a dimension
          |
    prepare -> Prepared     corpus, queries and labels, looked at once, for everything below
          |
    solve -> Solution       which vectors move where; select: or how queries change, whichever is best. Both by Options
          |
    fit -> Nudge            all of that at once; the artifact: save, load, apply, revert, diff
          |
    refit -> Nudge          new labels beside those that it keeps, documents as they are now
          |
    ExactIndex              ids, vectors and their similarity -> the top k
          |
    evaluate -> Evaluation  a ranking -> nDCG@10 and others, query by query

Retrievers, embeddings and stores are in ``nudge_integrations.llama_index`` and ``nudge_integrations.langchain``, which
need their framework; ``nudge`` on the command line does a whole run. Every error of this package is a `NudgeError`.

Names are imported when they are first used, so that ``import nudge_integrations`` loads neither torch nor a framework.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nudge_integrations.artifact import Nudge, NudgeDiff
    from nudge_integrations.corpus import ArrayCorpus, Corpus
    from nudge_integrations.dataset import RetrievalDataset, ValidationReport, load_demo
    from nudge_integrations.encoding import CachedEncoder, Encoder, SentenceTransformerEncoder
    from nudge_integrations.errors import (
        ArtifactError,
        CorruptArtifactError,
        DatasetError,
        InputError,
        MismatchError,
        MissingExtraError,
        NudgeError,
        SimilarityError,
    )
    from nudge_integrations.evaluation import Evaluation, evaluate
    from nudge_integrations.feedback import LabelLog
    from nudge_integrations.index import ExactIndex
    from nudge_integrations.pipeline import Health, Migration, Suspect, fit, health, migrate, refit, suspects
    from nudge_integrations.selection import select
    from nudge_integrations.solver import Options, Prepared, Solution, prepare, solve

__version__ = "0.2.0"

# In the order of the flow, not of the alphabet.
__all__ = [  # noqa: RUF022
    "RetrievalDataset",
    "ValidationReport",
    "load_demo",
    "Encoder",
    "SentenceTransformerEncoder",
    "CachedEncoder",
    "Corpus",
    "ArrayCorpus",
    "prepare",
    "Prepared",
    "solve",
    "Solution",
    "select",
    "Options",
    "fit",
    "refit",
    "health",
    "Health",
    "suspects",
    "Suspect",
    "migrate",
    "Migration",
    "LabelLog",
    "Nudge",
    "NudgeDiff",
    "ExactIndex",
    "evaluate",
    "Evaluation",
    "NudgeError",
    "InputError",
    "DatasetError",
    "SimilarityError",
    "ArtifactError",
    "CorruptArtifactError",
    "MismatchError",
    "MissingExtraError",
    "__version__",
]

_MODULES = {
    "dataset": ("RetrievalDataset", "ValidationReport", "load_demo"),
    "encoding": ("Encoder", "SentenceTransformerEncoder", "CachedEncoder"),
    "corpus": ("Corpus", "ArrayCorpus"),
    "solver": ("prepare", "Prepared", "solve", "Solution", "Options"),
    "selection": ("select",),
    "pipeline": ("fit", "refit", "health", "Health", "suspects", "Suspect", "migrate", "Migration"),
    "feedback": ("LabelLog",),
    "artifact": ("Nudge", "NudgeDiff"),
    "index": ("ExactIndex",),
    "evaluation": ("evaluate", "Evaluation"),
    "errors": tuple(name for name in __all__ if name.endswith("Error")),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


if not TYPE_CHECKING:  # a type checker that saw this would let any name pass

    def __getattr__(name: str) -> Any:
        """Import a public name when it is first asked for (PEP 562)."""
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """List the public names too, before they are imported."""
    return sorted({*globals(), *__all__})
