"""The public names of the two edges: one name, one meaning, one default in both."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import fields
from types import ModuleType
from typing import Any, get_type_hints

import pytest
from llama_index.core.instrumentation.events import BaseEvent

from nudge_integrations import Encoder, Nudge, RetrievalDataset, fit, langchain, llama_index
from nudge_integrations.errors import InputError
from nudge_integrations.langchain.fitting import FitOptions
from nudge_integrations.solver import Options, OptionValues

EDGES = (llama_index, langchain)
edges = pytest.mark.parametrize("edge", EDGES, ids=["llama_index", "langchain"])
DATASET = RetrievalDataset({"d": "cats purr", "e": "dogs bark"}, {"q": "who purrs?"}, {"q": {"d": 1}})


def classes(edge: ModuleType) -> list[type[Any]]:
    return [item for name in edge.__all__ if inspect.isclass(item := getattr(edge, name))]


def own(kind: type[Any]) -> Iterator[tuple[str, Any]]:
    """The public methods, and the constructor, that no class of the framework has."""
    theirs = [base for base in kind.__mro__ if not base.__module__.startswith("nudge_integrations")]
    for name in {name for base in kind.__mro__ if base not in theirs for name in vars(base)}:
        given = name != "__init__" and any(hasattr(base, name) for base in theirs)
        given |= name.startswith("similarity_search")  # the framework's words also where its base class lacks one
        if (name == "__init__" or not name.startswith("_")) and not given and callable(getattr(kind, name)):
            yield name, getattr(kind, name)


def functions(edge: ModuleType) -> Iterator[tuple[str, Any]]:
    for name in edge.__all__:
        item = getattr(edge, name)
        if inspect.isfunction(item):
            yield f"{edge.__name__}.{name}", item
        elif not issubclass(item, BaseEvent):
            yield from ((f"{edge.__name__}.{name}.{method}", function) for method, function in own(item))


def defaults() -> dict[str, dict[str, list[str]]]:
    """Parameter -> its defaults, and the functions that have each."""
    found: dict[str, dict[str, list[str]]] = {}
    for where, function in [*functions(llama_index), *functions(langchain), ("nudge_integrations.fit", fit)]:
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.default is not parameter.empty:
                found.setdefault(name, {}).setdefault(repr(parameter.default), []).append(where)
    for name, field in langchain.NudgeRetriever.model_fields.items():
        if name in vars(langchain.NudgeRetriever)["__annotations__"] and not field.is_required():
            found.setdefault(name, {}).setdefault(repr(field.default), []).append("langchain.NudgeRetriever")
    return found


def test_a_parameter_has_one_default_wherever_it_is() -> None:
    found = defaults()
    assert {name: places for name, places in found.items() if len(places) > 1} == {}
    shared = {"duplicates": "'merge'", "method": "'auto'", "extra_coordinate": "None", "query_transform": "None"}
    for name, default in {**shared, "parent_key": "'doc_id'", "k": "10"}.items():
        assert list(found[name]) == [default]
        assert len(found[name][default]) > 1


def test_the_engine_and_the_store_take_the_same_options_of_a_fit() -> None:
    assert set(OptionValues.__annotations__) == {field.name for field in fields(Options)} - {"method"}
    options = set(FitOptions.__annotations__) - set(OptionValues.__annotations__)
    assert options <= set(inspect.signature(fit).parameters)
    engine = inspect.signature(llama_index.NudgeFinetuneEngine).parameters
    assert options - set(engine) == {"validation"}  # LlamaIndex has its own words for this, and for progress:
    assert {"val_dataset", "show_progress"} <= set(engine)
    assert engine["options"].annotation == inspect.signature(fit).parameters["options"].annotation


@pytest.mark.parametrize("option", sorted({field.name for field in fields(Options)} - {"method"}))
def test_no_function_declares_an_option_of_a_fit_again(option: str) -> None:
    elsewhere = {"seed", "progress", "ignore_identical_ids"}  # of generated questions, and of evaluators
    assert option in elsewhere or option not in defaults()


@edges
def test_nudge_is_a_property_that_returns_a_nudge(edge: ModuleType) -> None:
    # An event, and the handlers that write what was retrieved to a log, have none.
    kinds = [one for one in classes(edge) if not issubclass(one, BaseEvent) and not one.__name__.endswith("Handler")]
    assert len(kinds) == (4 if edge is llama_index else 3)
    for kind in kinds:
        nudge = inspect.getattr_static(kind, "nudge")
        assert isinstance(nudge, property), kind
        assert nudge.fget is not None
        assert get_type_hints(nudge.fget)["return"] in (Nudge, Nudge | None), kind


@edges
def test_a_verb_means_the_same_wherever_it_is(edge: ModuleType) -> None:
    verbs = {"apply": ["self", "nudge"], "revert": ["self"], "fit": ["self", "dataset"]}
    for kind in classes(edge):
        for name, function in own(kind):
            required = [n for n, p in inspect.signature(function).parameters.items() if p.default is p.empty]
            if name in verbs:
                assert required[: len(verbs[name])] == verbs[name], (kind, name)


@edges
def test_both_turn_encoders_and_embeddings_into_each_other(edge: Any, encoder: Encoder) -> None:
    assert list(inspect.signature(edge.as_encoder).parameters) == ["embedding"]
    assert list(inspect.signature(edge.as_embedding).parameters) == ["encoder"]
    embedding = edge.as_embedding(encoder)
    assert edge.as_embedding(embedding) is embedding
    assert edge.as_encoder(embedding) is edge.as_encoder(encoder) is encoder
    for function in (edge.as_encoder, edge.as_embedding):
        with pytest.raises(InputError, match="got 7, expected"):
            function(7)
    nudged = getattr(edge, "NudgedEmbedding" if edge is llama_index else "NudgedEmbeddings")
    with pytest.raises(InputError, match="starts from base vectors"):
        edge.as_encoder(nudged(embedding, fit(DATASET, encoder, method="nudge-n", step=0.5)))


def test_nothing_is_served_before_a_fit_or_an_apply(encoder: Encoder) -> None:
    engine, store = llama_index.NudgeFinetuneEngine(DATASET, encoder), langchain.NudgeVectorStore(encoder)
    assert engine.nudge is store.nudge is None
    for serve in (engine.as_retriever, engine.as_index, engine.get_finetuned_model):
        with pytest.raises(InputError, match="nothing was fitted yet"):
            serve()
