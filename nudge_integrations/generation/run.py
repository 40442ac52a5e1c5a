"""One generation of questions: its settings, what is still to be asked, what was answered, and what comes of it."""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.validation import checked_texts
from nudge_integrations.encoding import Encoder
from nudge_integrations.errors import DatasetError, InputError
from nudge_integrations.generation.journal import Journal
from nudge_integrations.generation.prompt import check_prompt, filled_prompt
from nudge_integrations.generation.selection import covering_sample, found_again

logger = logging.getLogger(__name__)

Answer = str | Sequence[str]
Example = tuple[str, str | Sequence[str]]


@dataclass(frozen=True)
class GenerationReport:
    """The outcome of a generation.

    Args:
        documents: Number of documents that questions were wanted for, after sampling.
        resumed: Of these, the number whose questions were on file already.
        failed: (document id, reason) of the documents for which there is no question.
        short: Ids of the documents with fewer questions than wanted.
        questions: Number of questions before the round-trip filter.
        kept: Number of questions after it.
    """

    documents: int
    resumed: int
    failed: tuple[tuple[str, str], ...]
    short: tuple[str, ...]
    questions: int
    kept: int

    @property
    def dropped(self) -> int:
        """Number of questions that did not find their own document again."""
        return self.questions - self.kept

    def __str__(self) -> str:
        failures = (
            f"; no question for {', '.join(f'{i!r} ({why})' for i, why in self.failed[:3])}" if self.failed else ""
        )
        return (
            f"{self.documents:,} documents ({self.resumed:,} on file already), {self.questions:,} questions: "
            f"{self.kept:,} kept, {self.dropped:,} dropped; {len(self.failed):,} documents failed, {len(self.short):,} "
            f"have fewer questions than wanted{failures}{', ...' if len(self.failed) > 3 else ''}"
        )


@dataclass(frozen=True)
class Settings:
    """The options of a generation, checked; ``generate_qa_pairs`` says what each means."""

    questions_per_document: int
    prompt: str
    examples: Sequence[Example]
    output_path: str | Path | None
    workers: int
    retries: int
    on_failure: Literal["raise", "continue"]
    encoder: Encoder | None
    round_trip: int | None
    coverage: int | None
    seed: int
    progress: bool
    on_report: Callable[[GenerationReport], object] | None

    def __post_init__(self) -> None:
        least = {"questions_per_document": 1, "workers": 1, "retries": 0, "round_trip": 1, "coverage": 1, "seed": 0}
        for name, lowest in least.items():
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < lowest):
                raise InputError(f"{name} is {value!r}, expected a whole number of at least {lowest}")
        if self.on_failure not in ("raise", "continue"):
            raise InputError(f"on_failure is {self.on_failure!r}, expected 'raise' or 'continue'")
        if self.encoder is None and (self.round_trip is not None or self.coverage is not None):
            raise InputError("round_trip and coverage compare vectors: give an encoder= as well")
        check_prompt(self.prompt, self.examples)


class Generation:
    """One generation: what is still to be asked, what was answered, and the dataset that comes of it."""

    def __init__(self, texts: Mapping[str, str], settings: Settings) -> None:
        self.texts = checked_texts(texts, "texts")
        self.settings = settings
        self.journal = Journal(None if settings.output_path is None else Path(settings.output_path))
        self.answers: dict[str, list[str]] = {}
        self.failed: dict[str, str] = {}
        self.prompts: dict[str, str] = {}
        for identifier in self._chosen():
            text = self.texts[identifier]
            if not text.strip():
                self.failed[identifier] = "its text is empty"
                continue
            prompt = filled_prompt(settings.prompt, text, settings.questions_per_document, settings.examples)
            known = self.journal.get(identifier, self._key(prompt))
            if known is None:
                self.prompts[identifier] = prompt
            else:
                self.answers[identifier] = known
        self.resumed = len(self.answers)
        self._cause: Exception | None = None
        self._raise_for_failure()

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """The vectors of all documents, (n, d) float32; only asked for where there is an encoder."""
        if self.settings.encoder is None:
            raise InputError("round_trip and coverage compare vectors: give an encoder= as well")
        return self.settings.encoder.encode_documents(list(self.texts.values()))

    def _chosen(self) -> list[str]:
        identifiers = list(self.texts)
        if self.settings.coverage is None:
            return identifiers
        return [identifiers[row] for row in covering_sample(self.vectors, self.settings.coverage, self.settings.seed)]

    def _key(self, prompt: str) -> str:
        """Hash all that decides an answer: the prompt with text and examples in it, and the number of questions."""
        requested = f"{self.settings.questions_per_document}:{prompt}"
        return hashlib.sha256(requested.encode("utf-8", "surrogatepass")).hexdigest()

    def bar(self) -> tqdm[Any]:
        """Open a progress bar over the documents that are still to be asked for."""
        return tqdm(total=len(self.prompts), desc="Asking", unit="document", disable=not self.settings.progress)

    def take(self, identifier: str, outcome: list[str] | Exception) -> None:
        """Note what came of asking for a document."""
        if isinstance(outcome, Exception):
            self.failed[identifier] = f"{type(outcome).__name__}: {outcome}"
            self._cause = self._cause or outcome
        else:
            self.answers[identifier] = outcome
            self.journal.add(identifier, self._key(self.prompts[identifier]), outcome)

    @property
    def stopping(self) -> bool:
        """Whether a failure ends the run: no further call is made, and what is under way is still noted."""
        return bool(self.failed) and self.settings.on_failure == "raise"

    def _raise_for_failure(self) -> None:
        if not self.stopping:
            return
        identifier, reason = next(iter(self.failed.items()))
        others = f" (and {len(self.failed) - 1} others)" if len(self.failed) > 1 else ""
        kept = f"; what was answered is kept in {self.journal.path}" if self.journal.path and self.answers else ""
        advice = "on_failure='continue' goes on without it"
        raise DatasetError(
            f"no question for document {identifier!r}{others}: {reason}{kept}; {advice}"
        ) from self._cause

    def finish(self) -> RetrievalDataset:
        """Filter, report and put the dataset together, in the order of the documents."""
        self._raise_for_failure()
        requested = self.settings.questions_per_document
        pairs = [(question, i) for i in self.texts if i in self.answers for question in self.answers[i]]
        kept = self._round_trip(pairs)
        report = GenerationReport(
            documents=len(self.answers) + len(self.failed),
            resumed=self.resumed,
            failed=tuple((i, self.failed[i]) for i in self.texts if i in self.failed),
            short=tuple(i for i in self.texts if i in self.answers and len(self.answers[i]) < requested),
            questions=len(pairs),
            kept=len(kept),
        )
        logger.log(logging.WARNING if report.failed else logging.INFO, "%s", report)
        if self.settings.on_report is not None:
            self.settings.on_report(report)
        if self.failed and not self.answers:
            raise DatasetError(f"no document has a question: {report}")
        return RetrievalDataset.from_records(((question, [identifier]) for question, identifier in kept), self.texts)

    def _round_trip(self, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        settings = self.settings
        if settings.round_trip is None or settings.encoder is None or not pairs:
            return pairs
        row_of = {identifier: row for row, identifier in enumerate(self.texts)}
        queries = settings.encoder.encode_queries([question for question, _ in pairs])
        own = np.array([row_of[identifier] for _, identifier in pairs], np.int64)
        return list(itertools.compress(pairs, found_again(queries, self.vectors, own, settings.round_trip)))
