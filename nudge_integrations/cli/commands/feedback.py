"""``nudge feedback``: what users said, as labels; what is in a log; one more verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nudge_integrations.cli.options import DebugOption, JsonOption
from nudge_integrations.cli.screen import console_for, print_json

__all__ = ["EXAMPLES", "add", "convert", "stats"]

EXAMPLES = (
    "nudge feedback stats ubi.ndjson",
    "nudge feedback convert feedback.jsonl --corpus docs --output labels",
    'nudge feedback add feedback.jsonl "who purrs?" d1 yes',
)

LogsArgument = Annotated[list[Path], typer.Argument(help="Files that belong together: JSON, JSON lines or CSV.")]
LogArgument = Annotated[Path, typer.Argument(help="The log, in our own form.")]
FormOption = Annotated[
    str | None,
    typer.Option("--from", help="lines, ubi, phoenix, langsmith, langfuse or judgements; else told by the keys."),
]
CorpusOption = Annotated[
    Path, typer.Option("--corpus", help="The documents: a BEIR folder, its corpus.jsonl or a JSON.")
]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="What to write: a BEIR folder or a JSON.")]
ClicksOption = Annotated[str, typer.Option("--clicks", help="weighted by position, raw, or none.")]


def convert(
    logs: LogsArgument,
    output: OutputOption,
    corpus: CorpusOption,
    form: FormOption = None,
    clicks: ClicksOption = "weighted",
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Turn feedback into labels over a corpus: a BEIR folder or a question-answer JSON; a no is a grade below 0.

    Weights of clicks go to `OUTPUT.weights.json`, as `fit(weights=...)` takes them.
    """
    import json

    from nudge_integrations.cli.formats import form_of, read_corpus, write_dataset
    from nudge_integrations.feedback import read_feedback
    from nudge_integrations.storage import write_atomically

    labels = read_feedback(*logs, form=form).labels(read_corpus(corpus), clicks=clicks)
    write_dataset(labels.dataset, output, form_of(output, None), split="train")
    beside = output.with_name(output.name + ".weights.json")
    write_atomically(beside, [json.dumps({query: dict(one) for query, one in labels.weights.items()})])
    result: dict[str, object] = {
        "queries": len(labels.dataset),
        "labels": sum(map(len, labels.dataset.qrels.values())),
        "position_weights": None if labels.positions is None else labels.positions.reason,
        "effective_clicks": None if labels.positions is None else labels.positions.effective_sample_size,
        "left_out": dict(labels.left_out),
        "output": str(output),
        "weights": str(beside),
    }
    _show(result, as_json=as_json)


def stats(logs: LogsArgument, form: FormOption = None, as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """Say what is in a log: queries, impressions, clicks, verdicts, by day, and what was left out."""
    from nudge_integrations.feedback import read_feedback

    feedback = read_feedback(*logs, form=form)
    _show({**feedback.statistics(), "by day": feedback.over_time()}, as_json=as_json)


def add(
    log: LogArgument,
    query: Annotated[str, typer.Argument(help="The text of the query.")],
    document: Annotated[str, typer.Argument(help="The id of the document.")],
    verdict: Annotated[str, typer.Argument(help="yes, no, a grade, or correction.")],
    instead: Annotated[str | None, typer.Option("--instead", help="For a correction: the right document's id.")] = None,
    source: Annotated[str, typer.Option("--source", help="Who says so.")] = "command line",
    debug: DebugOption = False,
) -> None:
    """Append one verdict to a log."""
    from nudge_integrations.errors import InputError
    from nudge_integrations.feedback import FeedbackLog, from_lines

    line = {"query": query, "document": document, "verdict": verdict, "instead": instead}
    if not from_lines([line]).verdicts:
        raise InputError(f"verdict {verdict!r} is neither yes, no, a grade nor correction")
    FeedbackLog(log).record(query, document, verdict, instead=instead, source=source)


def _show(result: dict[str, object], *, as_json: bool) -> None:
    console = console_for(as_json)
    for name, value in result.items():
        if isinstance(value, dict):
            console.print(f"{name}:", markup=False)
            for key, inner in value.items():
                said = ", ".join(f"{k} {v}" for k, v in inner.items()) if isinstance(inner, dict) else inner
                console.print(f"  {key}: {said}", markup=False)
        else:
            console.print(f"{name}: {value}", markup=False)
    if as_json:
        print_json(result)
