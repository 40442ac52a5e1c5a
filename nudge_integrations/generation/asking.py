"""Calls of a language model, in threads or async alike: one a document, again where one fails."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.encoding import Encoder
from nudge_integrations.generation.prompt import DEFAULT_PROMPT, questions_in
from nudge_integrations.generation.run import Answer, Example, Generation, GenerationReport, Settings

__all__ = ["agenerate_qa_pairs", "generate_qa_pairs"]

# Seconds before the first retry; each further one waits twice as long.
PAUSE = 0.5


def generate_qa_pairs(
    texts: Mapping[str, str],
    ask: Callable[[str], Answer],
    *,
    questions_per_document: int = 2,
    prompt: str = DEFAULT_PROMPT,
    examples: Sequence[Example] = (),
    output_path: str | Path | None = None,
    workers: int = 4,
    retries: int = 2,
    on_failure: Literal["raise", "continue"] = "raise",
    encoder: Encoder | None = None,
    round_trip: int | None = None,
    coverage: int | None = None,
    seed: int = 0,
    progress: bool = False,
    on_report: Callable[[GenerationReport], object] | None = None,
) -> RetrievalDataset:
    r"""Ask a language model for questions that documents answer, and make a dataset of them.

    Args:
        texts: Document id to text; all of them are the dataset's corpus.
        ask: Called with a prompt, gives the model's answer: text, one question a line, or a list of questions. Called
            from several threads at once.
        questions_per_document: How many questions to ask for.
        prompt: The prompt, with ``{text}`` and, where wanted, ``{count}`` and ``{examples}`` in it.
        examples: (text, question or questions) pairs that show the model what is wanted.
        output_path: A file to which answers are written as they come. A run with the same file asks only for what is
            not in it: documents that are new, or whose text, prompt, examples or number of questions changed. Another
            language model needs another file.
        workers: How many calls run at once.
        retries: How often a call that fails, or whose answer holds no question, is made again.
        on_failure: What happens when it still fails: ``"raise"``, or ``"continue"`` and report.
        encoder: What makes vectors for ``round_trip`` and ``coverage``.
        round_trip: Keep a question only if its own document is among this many nearest by cosine.
        coverage: Ask for this many documents only, drawn from all over the collection by k-means clusters.
        seed: Another seed, another draw.
        progress: Whether to show a bar over the documents.
        on_report: Called with the ``GenerationReport``, which is logged in any case.

    Returns:
        A dataset of the questions, each relevant to its document with grade 1; the same question for two documents is
        one query with two.

    Raises:
        InputError: An option that cannot be used.
        DatasetError: No question for a document, with ``on_failure="raise"``, or for any; or ``output_path`` is a file
            of another kind.

    Example:
        >>> reports: list[GenerationReport] = []
        >>> dataset = generate_qa_pairs(
        ...     {"d1": "Cats purr."}, lambda prompt: "1. Who purrs?\n2. What do cats do?", on_report=reports.append
        ... )
        >>> list(dataset.queries.values()), reports[0].kept
        (['Who purrs?', 'What do cats do?'], 2)
    """
    settings = Settings(
        questions_per_document, prompt, tuple(examples), output_path, workers, retries, on_failure, encoder, round_trip,
        coverage, seed, progress, on_report,
    )  # fmt: skip
    run = Generation(texts, settings)
    with run.bar() as bar, contextlib.closing(_ask_in_threads(run, ask)) as outcomes:
        for identifier, outcome in outcomes:
            run.take(identifier, outcome)
            bar.update()
    return run.finish()


async def agenerate_qa_pairs(
    texts: Mapping[str, str],
    ask: Callable[[str], Awaitable[Answer]],
    *,
    questions_per_document: int = 2,
    prompt: str = DEFAULT_PROMPT,
    examples: Sequence[Example] = (),
    output_path: str | Path | None = None,
    workers: int = 4,
    retries: int = 2,
    on_failure: Literal["raise", "continue"] = "raise",
    encoder: Encoder | None = None,
    round_trip: int | None = None,
    coverage: int | None = None,
    seed: int = 0,
    progress: bool = False,
    on_report: Callable[[GenerationReport], object] | None = None,
) -> RetrievalDataset:
    """Do what ``generate_qa_pairs`` does with a coroutine function for ``ask``, ``workers`` of its calls at once.

    All other arguments, the result, the errors and the file are those of ``generate_qa_pairs``; the encoder runs in a
    thread, so that the event loop goes on.
    """
    settings = Settings(
        questions_per_document, prompt, tuple(examples), output_path, workers, retries, on_failure, encoder, round_trip,
        coverage, seed, progress, on_report,
    )  # fmt: skip
    run = await asyncio.to_thread(Generation, texts, settings)
    pending = iter(run.prompts.items())

    async def work(bar: tqdm[Any]) -> None:
        while not run.stopping and (document := next(pending, None)):
            run.take(document[0], await _attempt_async(ask, document[1], run))
            bar.update()

    with run.bar() as bar:
        tasks = [asyncio.create_task(work(bar)) for _ in range(workers)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    return await asyncio.to_thread(run.finish)


def _ask_in_threads(
    run: Generation, ask: Callable[[str], Answer]
) -> Generator[tuple[str, list[str] | Exception], None, None]:
    """Yield outcomes as they come; a run that stops starts no further call, and notes those under way."""
    pool = ThreadPoolExecutor(run.settings.workers)
    try:
        # Frameworks keep callbacks and traces in context variables, which a thread has only if they are handed on.
        futures = {
            pool.submit(contextvars.copy_context().run, _attempt, ask, prompt, run): identifier
            for identifier, prompt in run.prompts.items()
        }
        for future in as_completed(futures):
            if not future.cancelled():
                yield futures[future], future.result()
            if run.stopping:
                for waiting in futures:
                    waiting.cancel()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _attempt(ask: Callable[[str], Answer], prompt: str, run: Generation) -> list[str] | Exception:
    outcome: list[str] | Exception = []  # there is at least one attempt
    for attempt in range(run.settings.retries + 1):
        if attempt and run.stopping:
            break
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            return questions_in(ask(prompt), run.settings.questions_per_document)
        except Exception as error:
            outcome = error
    return outcome


async def _attempt_async(
    ask: Callable[[str], Awaitable[Answer]], prompt: str, run: Generation
) -> list[str] | Exception:
    outcome: list[str] | Exception = []  # there is at least one attempt
    for attempt in range(run.settings.retries + 1):
        if attempt and run.stopping:
            break
        if attempt:
            await asyncio.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            return questions_in(await ask(prompt), run.settings.questions_per_document)
        except Exception as error:
            outcome = error
    return outcome
