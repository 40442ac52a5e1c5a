"""An engine's encoder, fine-tuned on the engine's own labels before vectors are nudged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding

from nudge_integrations.encoding import SentenceTransformerEncoder
from nudge_integrations.errors import InputError
from nudge_integrations.finetune import finetune_encoder
from nudge_integrations.llama_index.embedding import NudgedEmbedding
from nudge_integrations.llama_index.encoder import EncoderEmbedding
from nudge_integrations.llama_index.training import Training

__all__ = ["EncoderFinetuning", "EncoderOptions"]

EncoderOptions = bool | Mapping[str, Any]

# Options that the engine sets.
_DECIDED = frozenset({"dataset", "model", "validation", "progress"})


@dataclass(frozen=True)
class EncoderFinetuning:
    """An encoder and how it is fine-tuned; every fit starts from it again, so fitting twice is fitting once.

    Attributes:
        base: The encoder before training.
        options: Options of `finetune_encoder`.
    """

    base: SentenceTransformerEncoder
    options: Mapping[str, Any]

    @classmethod
    def of(cls, embed_model: Any, options: EncoderOptions, query_transform: object | None) -> EncoderFinetuning | None:
        """Check the options of an engine and load the model.

        Args:
            embed_model: A model's name, path or ``SentenceTransformer``, a ``SentenceTransformerEncoder``, an embedding
                model of one, or a ``HuggingFaceEmbedding``, whose model is loaded by its name.
            options: True, options of `finetune_encoder`, or False for no training.
            query_transform: Refused, since training would see other queries than searching does.

        Raises:
            InputError: If the embedding model has no weights here that could be trained, or an option cannot be given.
        """
        if options is False:
            return None
        if options is not True and not isinstance(options, Mapping):
            raise InputError(f"finetune_encoder is {options!r}, expected True, False or a mapping of its options")
        given = {} if options is True else dict(options)
        decided = sorted(_DECIDED & given.keys())
        if decided:
            raise InputError(f"finetune_encoder: {', '.join(decided)} cannot be given here; the engine sets them")
        if query_transform is not None:
            raise InputError("an encoder is fine-tuned on untransformed queries: leave query_transform out")
        return cls(_trainable(embed_model), given)

    def run(self, training: Training) -> EncoderEmbedding:
        """Fine-tune on the labels of ``training`` and embed with the result from then on.

        Raises:
            DatasetError: If the labels have problems.
            InputError: If a node has an embedding already, since the new encoder did not make it.
        """
        given = next((node.node_id for node in training.nodes if node.embedding is not None), None)
        if given is not None:
            raise InputError(
                f"node {given!r} has an embedding, and not of the encoder that is trained: give nodes without any"
            )
        train, validation = training.labels()
        options = {"validation": validation, "progress": training.show_progress, **self.options}
        embed_model = EncoderEmbedding(finetune_encoder(train, self.base, **options))
        training.change_model(embed_model)
        return embed_model


def _trainable(model: Any) -> SentenceTransformerEncoder:
    if isinstance(model, NudgedEmbedding):
        return _trainable(model.base)
    if isinstance(model, EncoderEmbedding):
        return _trainable(model.encoder)
    if isinstance(model, SentenceTransformerEncoder):
        return model
    if isinstance(model, str | Path) or type(model).__name__ == "SentenceTransformer":
        return SentenceTransformerEncoder(model)
    if isinstance(model, BaseEmbedding) and model.class_name() == "HuggingFaceEmbedding":
        settings: Any = model  # by name, since its package need not be installed
        encoder = SentenceTransformerEncoder(
            settings.model_name, query_prompt=settings.query_instruction, document_prompt=settings.text_instruction
        )
        encoder.model.max_seq_length = settings.max_length
        return encoder
    raise InputError(
        f"embed_model is {model!r}, whose weights cannot be trained here: give the name or path of a "
        "sentence-transformers model, such a model, a SentenceTransformerEncoder or a HuggingFaceEmbedding"
    )
