"""How texts become the tokens that BM25 counts: lower case, without stop words, stemmed; by language, or as told."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, NamedTuple

from nudge_integrations.errors import InputError, MissingExtraError

__all__ = ["LANGUAGES", "Bm25", "Tokenizer", "coder_of", "has_bm25", "tokenizer_of"]

Tokenizer = Callable[[str], Sequence[str]]

# A word has two letters or digits at least, as in bm25s, whose expression also looks for the ends that this one finds.
_WORD = re.compile(r"\w\w+")

# Stems are looked up much faster than worked out.
_REMEMBERED = 1 << 18


class _Language(NamedTuple):
    """The names by which PyStemmer and bm25s know a language; None where they do not."""

    stemmer: str | None
    stop_words: str | None


_LANGUAGES = {
    "ar": _Language("arabic", None),
    "da": _Language("danish", "STOPWORDS_DANISH"),
    "de": _Language("german", "STOPWORDS_GERMAN"),
    "el": _Language("greek", None),
    "en": _Language("english", "STOPWORDS_EN"),
    "es": _Language("spanish", "STOPWORDS_SPANISH"),
    "fi": _Language("finnish", None),
    "fr": _Language("french", "STOPWORDS_FRENCH"),
    "hu": _Language("hungarian", None),
    "it": _Language("italian", "STOPWORDS_ITALIAN"),
    "nl": _Language("dutch", "STOPWORDS_DUTCH"),
    "no": _Language("norwegian", "STOPWORDS_NORWEGIAN"),
    "pt": _Language("portuguese", "STOPWORDS_PORTUGUESE"),
    "ro": _Language("romanian", None),
    "ru": _Language("russian", "STOPWORDS_RUSSIAN"),
    "sv": _Language("swedish", "STOPWORDS_SWEDISH"),
    "tr": _Language("turkish", "STOPWORDS_TURKISH"),
}

LANGUAGES = tuple(_LANGUAGES)
"""The languages whose words are stemmed, by ISO 639-1 code."""


@dataclass(frozen=True)
class Bm25:
    """How lexical scores are computed.

    Attributes:
        language: An ISO 639-1 code. Words of the `LANGUAGES` are stemmed and stop words left out, where there is a list
            of them; words of any other language are taken as they are, as with ``""``.
        tokenizer: Makes tokens of a text, in place of all that; the same for queries and documents.
        k1: How soon more occurrences of a word in one document stop to count.
        b: How much longer documents are held back, 0 .. 1.

    Raises:
        InputError: If an option is out of range.

    Example:
        >>> Bm25(language="de").k1
        1.5
    """

    language: str = "en"
    tokenizer: Tokenizer | None = None
    k1: float = 1.5
    b: float = 0.75

    name = "bm25"

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        if not isinstance(self.language, str):
            raise InputError(f"language must be an ISO 639-1 code such as 'en', or ''; got {self.language!r}")
        if self.tokenizer is not None and not callable(self.tokenizer):
            raise InputError(f"tokenizer must take a text and return its tokens; got {self.tokenizer!r}")
        for name, low, high in (("k1", 0.0, 100.0), ("b", 0.0, 1.0)):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not low <= value <= high:
                raise InputError(f"{name} must be a number between {low:g} and {high:g}; got {value!r}")

    @classmethod
    def named(cls, name: str) -> Bm25:
        """Return the settings that a name stands for: ``"bm25"`` for English, ``"bm25:de"`` for another language.

        Raises:
            InputError: If the name is another one.

        Example:
            >>> Bm25.named("bm25:de").language
            'de'
        """
        kind, colon, language = name.partition(":")
        if kind != cls.name or (colon and not language):
            raise InputError(
                f"unknown signal {name!r}; expected {cls.name!r}, or '{cls.name}:' and a language as in "
                f"'{cls.name}:de'; Python also takes a Bm25 or a Scorer"
            )
        return cls(language) if colon else cls()

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as JSON values; of a tokenizer only that there is one."""
        return {"language": self.language, "own_tokenizer": self.tokenizer is not None, "k1": self.k1, "b": self.b}

    @classmethod
    def from_dict(cls, values: dict[str, Any], tokenizer: Tokenizer | None = None) -> Bm25:
        """Return the settings that `as_dict` wrote; a tokenizer has to be given again.

        Raises:
            InputError: If there was a tokenizer and none is given, or the reverse.
        """
        if values["own_tokenizer"] != (tokenizer is not None):
            was = "a tokenizer of your own" if values["own_tokenizer"] else "no tokenizer of your own"
            raise InputError(
                f"these lexical scores were made with {was}: give tokenizer= as it was then (Nudge.load has it too)"
            )
        return cls(str(values["language"]), tokenizer, float(values["k1"]), float(values["b"]))


def has_bm25() -> bool:
    """Say whether the packages that lexical scores need are installed."""
    return find_spec("bm25s") is not None and find_spec("Stemmer") is not None


def tokenizer_of(settings: Bm25) -> Tokenizer:
    """Return what makes tokens of a text.

    Raises:
        MissingExtraError: If a language's stop words or stems are asked for and the packages are not installed.

    Example:
        >>> tokenizer_of(Bm25(language=""))("A dog, two dogs")
        ['dog', 'two', 'dogs']
    """
    if settings.tokenizer is not None:
        return settings.tokenizer
    token_of = _token_of(settings)
    if token_of is None:
        return _words
    return lambda text: [token for word in _words(text) if (token := token_of(word))]


def coder_of(settings: Bm25, vocabulary: dict[str, int]) -> Callable[[str], list[int]]:
    """Return what makes the codes of its tokens of a text, and takes new tokens into the vocabulary.

    The same as `tokenizer_of`, but each word is looked up once, however many texts have it.

    Example:
        >>> vocabulary = {}
        >>> coder_of(Bm25(language=""), vocabulary)("A dog, two dogs, a dog"), vocabulary
        ([0, 1, 2, 0], {'dog': 0, 'two': 1, 'dogs': 2})
    """
    token_of = None if settings.tokenizer is not None else _token_of(settings)
    if token_of is None:
        tokenize = tokenizer_of(settings)
        return lambda text: [vocabulary.setdefault(token, len(vocabulary)) for token in tokenize(text)]
    codes = _Codes(token_of, vocabulary)
    return lambda text: [code for code in map(codes.__getitem__, _words(text)) if code >= 0]


class _Codes(dict[str, int]):
    """Word -> the code of its token, -1 where it has none."""

    def __init__(self, token_of: Callable[[str], str], vocabulary: dict[str, int]) -> None:
        super().__init__()
        self._token_of, self._vocabulary = token_of, vocabulary

    def __missing__(self, word: str) -> int:
        token, known = self._token_of(word), self._vocabulary
        code = self[word] = known.setdefault(token, len(known)) if token else -1
        return code


def _token_of(settings: Bm25) -> Callable[[str], str] | None:
    """Return what makes a token of a word, ``""`` of a stop word; None where words are taken as they are."""
    language = _LANGUAGES.get(settings.language)
    if language is None:
        return None
    try:
        import Stemmer
        from bm25s import stopwords
    except ImportError as error:
        raise MissingExtraError("bm25s", "lexical") from error
    stop_words = frozenset(getattr(stopwords, language.stop_words)) if language.stop_words else frozenset()
    stem = lru_cache(_REMEMBERED)(Stemmer.Stemmer(language.stemmer).stemWord)
    return lambda word: "" if word in stop_words else stem(word)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
