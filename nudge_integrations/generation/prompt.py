"""The prompt for questions about a document, and how they are read out of the answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from nudge_integrations.errors import InputError

DEFAULT_PROMPT = """\
Below is a document from a collection that people search.

Document:
{text}

Write {count} different questions that a person might type into a search box and that this document answers. Use the \
words that a person would use who has not seen the document. Do not refer to "the document" or "the text". Write one \
question a line, with no number before it and nothing else.
{examples}"""

_FIELD = re.compile(r"\{(text|count|examples)\}")
# A bullet, a number or "Question 2:" before a question. After a number's full stop a blank must follow: "3.5 GHz ...".
_MARK = re.compile(
    r"^(?:[-*•\u2013]\s+|\(?\d{1,3}(?:\)\s*|[.:]\s+)|(?:q|question)\s*\d{0,3}\s*[.:)]\s*)", re.IGNORECASE
)
_FENCE = re.compile(r"^```\w*\s*$", re.MULTILINE)
_WRAPPED = (("**", "**"), ('"', '"'), ("'", "'"), ("“", "”"), ("«", "»"), ("`", "`"))


def filled_prompt(prompt: str, text: str, count: int, examples: Sequence[tuple[str, str | Sequence[str]]]) -> str:
    """Put a document, the number of questions and examples into a prompt's ``{text}``, ``{count}``, ``{examples}``.

    Other braces, in the prompt or in the document, stay as they are.
    """
    fields: Mapping[str, str] = {"text": text, "count": str(count), "examples": _shown(examples)}
    return _FIELD.sub(lambda found: fields[found[1]], prompt)


def check_prompt(prompt: str, examples: Sequence[Any]) -> None:
    """Raise InputError where a prompt has no place for what should go into it."""
    for field in ("text", *(["examples"] if examples else [])):
        if f"{{{field}}}" not in prompt:
            raise InputError(f"the prompt has no {{{field}}}, where the {field} should go: {prompt[:80]!r}")


def _shown(examples: Sequence[tuple[str, str | Sequence[str]]]) -> str:
    shown = []
    for text, questions in examples:
        lines = questions if isinstance(questions, str) else "\n".join(questions)
        shown.append(f"\nExample document:\n{text}\n\nExample questions:\n{lines}\n")
    return "".join(shown)


def questions_in(answer: str | Sequence[str], count: int) -> list[str]:
    r"""Read at most ``count`` different questions out of an answer.

    Args:
        answer: Lines, with or without numbers, bullets, quotes, words before and after; a JSON list; or a list.
        count: How many to take.

    Raises:
        InputError: There is no question in it.

    Example:
        >>> questions_in('Here are two questions:\n1. "Who purrs?"\n\n2) Who barks?\nEnjoy!', 2)
        ['Who purrs?', 'Who barks?']
    """
    if isinstance(answer, str):
        listed = _listed(answer)
        found = _lines(answer) if listed is None else listed
    elif isinstance(answer, Sequence) and all(isinstance(question, str) for question in answer):
        found = list(answer)
    else:
        raise InputError(f"the language model gave {answer!r}; expected text or a list of questions")
    unique = {question.casefold(): question for question in reversed([_unwrapped(line) for line in found]) if question}
    questions = list(reversed(unique.values()))[:count]
    if not questions:
        raise InputError(f"there is no question in the answer {answer!r}")
    return questions


def _listed(answer: str) -> list[str] | None:
    """Read a JSON list of strings, also one in an object or a fenced block; None where the answer is no such list."""
    try:
        data = json.loads(_FENCE.sub("", answer))
    except ValueError:
        return None
    if isinstance(data, dict):
        data = next((value for value in data.values() if isinstance(value, list)), None)
    return data if isinstance(data, list) and all(isinstance(question, str) for question in data) else None


def _lines(answer: str) -> list[str]:
    lines = [line.strip() for line in _FENCE.sub("", answer).splitlines()]
    marked = [_MARK.sub("", line) for line in lines if _MARK.match(line)]
    # Where questions are numbered, other lines are talk; where none is, talk before the questions ends with a colon.
    return marked or [line for line in lines if not line.endswith(":")]


def _unwrapped(question: str) -> str:
    """Take quotes and emphasis off."""
    question = " ".join(question.split())
    for start, end in _WRAPPED:
        if len(question) > len(start) + len(end) and question.startswith(start) and question.endswith(end):
            question = question[len(start) : -len(end)].strip()
    return question
