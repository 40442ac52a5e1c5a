"""``nudge generate``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nudge_integrations.cli.options import (
    BatchOption,
    CacheOption,
    ConfigOption,
    DebugOption,
    DeviceOption,
    DryRunOption,
    JsonOption,
    OptionalEncoderOption,
    SeedOption,
)
from nudge_integrations.cli.screen import console_for, print_json, shows_bars

if TYPE_CHECKING:
    from nudge_integrations.generation import GenerationReport

__all__ = ["EXAMPLES", "generate"]

EXAMPLES = (
    "nudge generate scifact --llm my_llm:ask --output questions.json",
    "nudge generate corpus.jsonl --llm my_llm:ask -o questions.json --questions 3 --workers 8",
    "nudge generate scifact --llm my_llm:ask -o questions.json --coverage 500 --round-trip 10 -e all-MiniLM-L6-v2",
)

CorpusArgument = Annotated[Path, typer.Argument(help="Documents: a BEIR folder, its corpus.jsonl, or a JSON.")]
LlmOption = Annotated[
    str, typer.Option("--llm", help="package.module:name of a function from a prompt to the model's answer.")
]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Question-answer JSON to write.")]
QuestionsOption = Annotated[int, typer.Option("--questions", min=1, help="Questions to ask for, a document.")]
WorkersOption = Annotated[int, typer.Option("--workers", min=1, help="Calls that run at once.")]
RetriesOption = Annotated[int, typer.Option("--retries", min=0, help="How often a call that fails is made again.")]
SkipOption = Annotated[
    bool, typer.Option("--skip-failures", help="Go on without documents that get no question, and say which.")
]
RoundTripOption = Annotated[
    int | None,
    typer.Option("--round-trip", min=1, help="Keep a question only if its document is among this many nearest."),
]
CoverageOption = Annotated[
    int | None, typer.Option("--coverage", min=1, help="Ask for this many documents only, from all over the corpus.")
]


def generate(
    corpus: CorpusArgument,
    llm: LlmOption,
    output: OutputOption,
    questions: QuestionsOption = 2,
    workers: WorkersOption = 4,
    retries: RetriesOption = 2,
    skip_failures: SkipOption = False,
    encoder: OptionalEncoderOption = None,
    round_trip: RoundTripOption = None,
    coverage: CoverageOption = None,
    batch_size: BatchOption = 32,
    device: DeviceOption = None,
    cache: CacheOption = None,
    seed: SeedOption = 0,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Have a language model write questions for documents, as labels to fit on where there are none yet.

    The function is imported from the current folder or any installed package, and called from several threads. Answers
    go to OUTPUT.answers.jsonl as they come: a run that was stopped goes on where it was, and pays for nothing twice.
    --round-trip and --coverage compare vectors and need an --encoder. A dry run counts; it imports and asks nothing.
    """
    from nudge_integrations.cli.encoders import EncoderChoice, load_encoder
    from nudge_integrations.cli.formats import read_corpus
    from nudge_integrations.cli.import_paths import check_import_path, load_object
    from nudge_integrations.cli.tables import would_write
    from nudge_integrations.errors import InputError
    from nudge_integrations.generation import generate_qa_pairs

    console = console_for(as_json)
    texts = read_corpus(corpus)
    check_import_path(llm)
    if encoder is None and (round_trip or coverage):
        raise typer.BadParameter("--round-trip and --coverage compare vectors: give an --encoder as well")
    answers = output.with_name(f"{output.name}.answers.jsonl")
    console.print(f"{len(texts):,} documents; answers are kept in {answers}.", markup=False)
    if dry_run:
        return would_write(console, [answers, output], as_json)
    ask = load_object(llm)
    if not callable(ask):
        raise InputError(f"{llm} is a {type(ask).__name__}; expected a function from a prompt to the model's answer")
    reports: list[GenerationReport] = []
    dataset = generate_qa_pairs(
        texts,
        ask,
        questions_per_document=questions,
        output_path=answers,
        workers=workers,
        retries=retries,
        on_failure="continue" if skip_failures else "raise",
        encoder=None if encoder is None else load_encoder(EncoderChoice(encoder, batch_size, device, cache)),
        round_trip=round_trip,
        coverage=coverage,
        seed=seed,
        progress=shows_bars(),
        on_report=reports.append,
    )
    dataset.to_json(output)
    console.print(f"{reports[0]}. Written to {output}.", markup=False)
    if as_json:
        print_json(_result(reports[0], output))
    return None


def _result(report: GenerationReport, output: Path) -> dict[str, Any]:
    return {**asdict(report), "dropped": report.dropped, "output": str(output)}
