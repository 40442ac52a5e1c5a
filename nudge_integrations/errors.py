"""Every error this package raises on purpose.

One root, so that ``except NudgeError`` always suffices::

    NudgeError
    ├── InputError            (also ValueError)   arrays or options that cannot be used
    ├── DatasetError          (also ValueError)   a corpus, queries or qrels that do not fit together
    ├── SimilarityError       (also ValueError)   vectors that a store or retriever would rank wrongly
    ├── ArtifactError                             a saved nudge that cannot be used
    │   ├── CorruptArtifactError                  missing, truncated or altered files
    │   └── MismatchError                         made for another encoder, dimension or corpus
    ├── StoreError                                a live store that cannot be read or changed as asked
    │   └── RolloutError                          a change that stopped half-way: resume it or roll it back
    │       ├── RolloutInterrupted (also KeyboardInterrupt)
    │       └── CanaryError                       queries did worse than predicted, so it was rolled back
    └── MissingExtraError     (also ImportError)  an optional dependency that is not installed

Messages say what came, what was expected and what to do.
"""

__all__ = [
    "ArtifactError",
    "CanaryError",
    "CorruptArtifactError",
    "DatasetError",
    "InputError",
    "MismatchError",
    "MissingExtraError",
    "NudgeError",
    "RolloutError",
    "RolloutInterrupted",
    "SimilarityError",
    "StoreError",
]


class NudgeError(Exception):
    """Root of every error that this package raises on purpose."""


class InputError(NudgeError, ValueError):
    """An array or an option that cannot be used: wrong shape, dtype, range, or not finite."""


class DatasetError(NudgeError, ValueError):
    """A corpus, queries or qrels that do not fit together or cannot be read."""


class SimilarityError(NudgeError, ValueError):
    """Vectors whose similarity a store or retriever cannot rank by."""


class ArtifactError(NudgeError):
    """A saved nudge that cannot be used."""


class CorruptArtifactError(ArtifactError):
    """A saved nudge with missing, truncated or altered files."""


class MismatchError(ArtifactError):
    """A saved nudge that was made for another encoder, dimension or corpus."""


class StoreError(NudgeError):
    """A live store that cannot be read or changed as asked."""


class RolloutError(StoreError):
    """A change of a live store that stopped half-way; it can be resumed or rolled back."""


class RolloutInterrupted(RolloutError, KeyboardInterrupt):
    """A change of a live store that the user interrupted; it can be resumed or rolled back."""


class CanaryError(RolloutError):
    """A change of a live store after which queries did worse than predicted, so that it was rolled back."""


class MissingExtraError(NudgeError, ImportError):
    """An optional dependency that is not installed.

    Args:
        package: The import name that was looked for, such as ``"llama_index.core"``.
        extra: The extra of this package that installs it, such as ``"llama-index"``.
    """

    def __init__(self, package: str, extra: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(
            f"{package} is not installed; it comes with the {extra!r} extra: pip install 'nudge-integrations[{extra}]'"
        )
