"""Filters by metadata: values, Chroma's operators, functions; what is unknown is refused."""

from __future__ import annotations

from typing import Any

import pytest

from nudge_integrations import ExactIndex
from nudge_integrations.errors import InputError
from nudge_integrations.index.filters import metadata_test

ROWS: list[dict[str, Any]] = [
    {"year": 2019, "language": "en", "tags": ["a", "b"]},
    {"year": 2020, "language": "de", "tags": ["b"], "draft": None},
    {"year": 2024, "language": "en"},
    {},
]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, [0, 1, 2, 3]),
        ({"language": "en"}, [0, 2]),
        ({"language": {"$eq": "en"}}, [0, 2]),
        ({"language": {"$ne": "en"}}, [1, 3]),
        ({"year": {"$gt": 2020}}, [2]),
        ({"year": {"$gte": 2020}}, [1, 2]),
        ({"year": {"$lt": 2020}}, [0]),
        ({"year": {"$lte": 2020}}, [0, 1]),
        ({"year": {"$gte": 2020, "$lt": 2024}}, [1]),
        ({"year": {"$in": [2019, 2024]}}, [0, 2]),
        ({"year": {"$nin": (2019, 2024)}}, [1, 3]),
        ({"year": {"$not": {"$gte": 2020}}}, [0, 3]),
        ({"tags": {"$contains": "a"}}, [0]),
        ({"tags": {"$not_contains": "a"}}, [1, 2, 3]),
        ({"tags": {"$exists": True}}, [0, 1]),
        ({"tags": {"$exists": False}}, [2, 3]),
        ({"draft": {"$gt": 1}}, []),
        ({"draft": None}, [1]),
        ({"$and": [{"language": "en"}, {"year": {"$gte": 2020}}]}, [2]),
        ({"$or": [{"language": "de"}, {"year": 2024}]}, [1, 2]),
        ({"$not": {"language": "en"}}, [1, 3]),
        ({"$or": [{"$and": [{"language": "en"}, {"year": 2019}]}, {"$not": {"year": {"$exists": True}}}]}, [0, 3]),
        ({"$and": [{"year": {"$gte": 2019}}], "language": "de"}, [1]),
        (lambda metadata: "tags" in metadata, [0, 1]),
    ],
)
def test_operators_find_what_they_say(where: Any, expected: list[int]) -> None:
    test = metadata_test(where)
    assert test is not None
    assert [row for row, metadata in enumerate(ROWS) if test(metadata)] == expected
    index = ExactIndex([str(row) for row in range(4)], [[1.0, row] for row in range(4)], metadata=ROWS)
    assert sorted(index.search([[1.0, 0.0]], 9, where=where)[0][0]) == [str(row) for row in expected]


def test_a_mapping_without_operators_is_a_value() -> None:
    test = metadata_test({"author": {"name": "Ada"}})
    assert test is not None
    assert test({"author": {"name": "Ada"}})
    assert not test({"author": {"name": "Bob"}})


@pytest.mark.parametrize(
    ("where", "named"),
    [
        ({"year": {"$near": 2020}}, r"unknown operator '\$near' for 'year'.*\$gte"),
        ({"year": {"$gte": 2020, "lt": 2024}}, "unknown operator 'lt'"),
        ({"$nor": [{"year": 2020}]}, r"unknown operator '\$nor'.*\$and"),
        ({"$and": {"year": 2020}}, "takes a list of filters"),
        ({"$or": []}, "at least one"),
        ({"$or": ["year"]}, "a mapping or a function"),
        ({"$not": None}, "got None"),
        ({"year": {"$in": 2020}}, "takes a list of values"),
        ({"language": {"$in": "en"}}, "takes a list of values"),
        ({"year": {"$exists": 1}}, "takes True or False"),
        ("year = 2020", "a mapping or a function"),
        ({"year": {"$gt": "2020"}}, "cannot be applied to the value 2019"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(where: Any, named: str) -> None:
    index = ExactIndex(["a"], [[1.0, 0.0]], metadata=[ROWS[0]])
    with pytest.raises(InputError, match=named):
        index.search([[1.0, 0.0]], 1, where=where)
