"""``nudge convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nudge_integrations.cli.options import ConfigOption, DebugOption, DryRunOption, JsonOption, SplitOption
from nudge_integrations.cli.screen import console_for, print_json

__all__ = ["EXAMPLES", "convert"]

EXAMPLES = (
    "nudge convert scifact scifact.json --split train",
    "nudge convert labels.json labels-beir --split test",
    "nudge convert examples.jsonl labels.json --corpus scifact",
    "nudge convert testset.csv labels.json    # Ragas' rows, or any two columns",
    "nudge convert pairs.csv labels.json --question-key title --doc-ids-key body",
    "nudge convert scifact scifact.qrels --split test",
)

_FORMS = "beir, qa, langsmith, table or qrels; by default what the path's name says."

SourceArgument = Annotated[Path, typer.Argument(help="What to read.")]
TargetArgument = Annotated[Path, typer.Argument(help="What to write.")]
FromOption = Annotated[str | None, typer.Option("--from", help=f"Form of the source: {_FORMS}")]
ToOption = Annotated[str | None, typer.Option("--to", help=f"Form of the target: {_FORMS}")]
CorpusOption = Annotated[
    Path | None,
    typer.Option("--corpus", help="Documents that are named by id: a BEIR folder, its corpus.jsonl, or a JSON."),
]
QuestionOption = Annotated[
    str | None, typer.Option("--question-key", help="Where an example, or which column of a table, holds the question.")
]
DocumentsOption = Annotated[
    str | None, typer.Option("--doc-ids-key", help="Where it holds its document ids, or the documents themselves.")
]


def convert(
    source: SourceArgument,
    target: TargetArgument,
    source_form: FromOption = None,
    target_form: ToOption = None,
    split: SplitOption = "test",
    corpus: CorpusOption = None,
    question_key: QuestionOption = None,
    doc_ids_key: DocumentsOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Turn labels from one form into another: BEIR folder, question-answer JSON, LangSmith examples, table, TREC qrels.

    A folder is BEIR, NAME.json the question-answer JSON of LlamaIndex, NAME.jsonl (or a JSON list) LangSmith examples
    or rows of a table, NAME.csv and NAME.tsv a table with named columns, NAME.qrels TREC's labels, which trec_eval and
    ir_measures read. What is there already is replaced as a whole; a
    BEIR folder gains a split.
    """
    from nudge_integrations.cli.formats import ExampleKeys, form_of, read_dataset, write_dataset

    keys = ExampleKeys(question_key, doc_ids_key)
    forms = {"from": form_of(source, source_form), "to": form_of(target, target_form)}
    dataset = read_dataset(source, forms["from"], split=split, corpus=corpus, keys=keys)
    if not dry_run:
        write_dataset(dataset, target, forms["to"], split=split, keys=keys)
    report = dataset.validate()
    result = {
        **forms,
        "documents": len(dataset.corpus),
        "queries": len(dataset),
        "judgements": sum(map(len, dataset.qrels.values())),
        "problems": None if report.ok else str(report),
        "output": str(target),
        "dry_run": dry_run,
    }
    console = console_for(as_json)
    console.print(f"{dataset!r} as {forms['to']} {'would go' if dry_run else 'went'} to {target}", markup=False)
    if not report.ok:
        console.print(f"Carried over as it is: {report}", markup=False)
    if as_json:
        print_json(result)
