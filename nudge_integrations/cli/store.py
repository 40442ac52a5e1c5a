"""A live store as the command line names it: where it is, which part of it, and the queries to check it by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nudge_integrations.artifact import Nudge
from nudge_integrations.cli.encoders import EncoderChoice, load_encoder
from nudge_integrations.cli.formats import form_of, read_dataset
from nudge_integrations.cli.screen import shows_bars
from nudge_integrations.cli.vector_files import read_ids
from nudge_integrations.dataset.label_weights import read_weights
from nudge_integrations.errors import DatasetError, InputError
from nudge_integrations.evaluation import RunFolder
from nudge_integrations.stores import Canary, LiveStore, Rollout, RolloutPlan, Where, fit_store, open_store

__all__ = ["CanarySource", "StoreTarget", "fit_to_store", "plan_result", "rollout_result"]

_CANARY = "canary.safetensors"


@dataclass(frozen=True)
class StoreTarget:
    """A store as it is named on the command line; see `open_store` for what each means."""

    url: str
    collection: str | None = None
    vector_name: str | None = None
    id_column: str | None = None
    where: Sequence[str] = ()
    ranking: str | None = None
    ids: Path | None = None
    journal: Path | None = None

    def open(self) -> LiveStore:
        """Open it.

        Raises:
            InputError: If it is no store that is known, or a part of its name is missing.
            StoreError: If the collection is not there.
        """
        if self.ranking not in (None, "cosine", "dot", "l2"):
            raise InputError(f"--ranking must be cosine, dot or l2; got {self.ranking!r}")
        return open_store(
            self.url,
            self.collection,
            vector_name=self.vector_name,
            id_column=self.id_column,
            where=_conditions(self.where),
            ranking=self.ranking,  # type: ignore[arg-type]
            ids=None if self.ids is None else read_ids(self.ids),
            journal=self.journal,
            progress=shows_bars(),
        )


@dataclass(frozen=True)
class CanarySource:
    """Labelled queries that a store is checked by: those of a dataset, else those that were saved beside the nudge."""

    labels: Path | None
    encoder: EncoderChoice | None
    split: str = "test"

    def read(self, folder: Path) -> tuple[Nudge, Canary | None]:
        """Load a nudge with its queries, if there are any.

        Raises:
            ArtifactError: If the nudge cannot be used, or the encoder is another one.
            InputError: If labels were given without the encoder that makes their vectors.
        """
        nudge, files = Nudge.load_with_files(folder)
        if self.labels is not None:
            if self.encoder is None:
                raise InputError(f"give the --encoder of the nudge, to make vectors of the queries of {self.labels}")
            model = load_encoder(self.encoder)
            nudge.check_encoder(model)
            dataset = read_dataset(self.labels, form_of(self.labels), split=self.split)
            return nudge, Canary.of(dataset, model.encode_queries(list(dataset.queries.values())), nudge)
        if _CANARY in files:
            return nudge, Canary.from_bytes(bytes(files[_CANARY]))
        try:
            run = RunFolder.load(folder)
        except DatasetError:  # a nudge alone
            return nudge, None
        return nudge, Canary.of(run.test, run.queries, nudge)


def fit_to_store(
    target: StoreTarget, labels: Path, encoder: EncoderChoice, split: str, output: Path, method: str
) -> Nudge:
    """Fit to a store and save the nudge with the queries that it can be checked by.

    Raises:
        NudgeError: If something cannot be read, or does not fit together.
    """
    RunFolder.check_target(output)
    dataset = read_dataset(labels, form_of(labels), split=split)
    store = target.open()
    nudge = fit_store(store, dataset, load_encoder(encoder), method=method, weights=read_weights(labels))
    canary = store.canary(nudge)
    nudge.save(output, attachments={} if canary is None else {_CANARY: canary.to_bytes()})
    return nudge


def plan_result(plan: RolloutPlan) -> dict[str, Any]:
    """Return a plan as plain data."""
    low, high = plan.interval
    predicted = plan.prediction
    return {
        "store": plan.store.kind,
        "location": plan.store.location,
        "count": plan.store.count,
        "rows": plan.rows,
        "missing": list(plan.missing),
        "bytes": plan.bytes,
        "journal_bytes": plan.journal_bytes,
        "seconds": round(plan.seconds, 3),
        "gain": plan.gain,
        "interval": [low, high] if low == low else None,
        "atomicity": plan.store.atomicity,
        "prediction": None
        if predicted is None
        else {
            name: getattr(predicted, name) for name in ("metric", "queries", "before", "after", "tolerance", "recall")
        },
        "notes": list(plan.notes),
    }


def rollout_result(run: Rollout) -> dict[str, Any]:
    """Return a rollout as plain data."""
    return {
        "state": run.state,
        "journal": str(run.journal.folder),
        "location": run.journal.plan["location"],
        "rows": run.journal.rows,
        "batches": dict(run.journal.counts()),
        "skipped": run.skipped,
        "canary": run.canary_figures,
    }


def _conditions(given: Sequence[str]) -> Where | None:
    """Read ``key=value``: whole numbers are numbers, and text where they are quoted.

    >>> _conditions(["tenant=acme", "year=2020", 'zip="0123"'])
    {'tenant': 'acme', 'year': 2020, 'zip': '0123'}
    """
    found: dict[str, str | int] = {}
    for condition in given:
        key, equals, value = condition.partition("=")
        if not (key and equals and value):
            raise InputError(f"--where {condition!r} is no condition; expected key=value, as in tenant=acme")
        quoted = len(value) > 1 and value[0] == value[-1] == '"'
        found[key] = value[1:-1] if quoted else int(value) if value.lstrip("-").isdecimal() else value
    return found or None
