"""A random transformer of a few kilobytes as a sentence-transformers model, and labels that it can learn."""

from __future__ import annotations

from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from nudge_integrations.dataset import RetrievalDataset

TOPICS = 24
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
WORDS = (*(f"ask{i}" for i in range(TOPICS)), *(f"tell{i}" for i in range(TOPICS)), "who", "what", "the", "a", "of")


def tiny_model(folder: Path, *, hidden: int = 32, blocks: int = 2, seed: int = 0) -> SentenceTransformer:
    """Build a model with random weights and mean pooling; written to a folder first, as Transformer wants it."""
    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *WORDS))}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106  no password
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, model_max_length=16, **names
    )
    wrapped.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=hidden,
        num_hidden_layers=blocks,
        num_attention_heads=2,
        intermediate_size=4 * hidden,
        max_position_embeddings=32,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(folder)
    transformer = Transformer(str(folder))
    return SentenceTransformer(modules=[transformer, Pooling(hidden, pooling_mode="mean")], device="cpu")


def planted_dataset() -> RetrievalDataset:
    """One document a topic, two queries a topic, which share no word with it: only training can match them."""
    corpus = {f"d{i}": f"the tell{i} of a tell{i}" for i in range(TOPICS)}
    queries = {f"{word}{i}": f"{word} ask{i} of" for i in range(TOPICS) for word in ("who", "what")}
    return RetrievalDataset(corpus, queries, {query: {f"d{query.strip('whoat')}": 1} for query in queries})
