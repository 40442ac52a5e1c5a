"""The same corpus over a Ray cluster of this machine, with two workers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scale_child import DyingOnce
from scale_files import labelled, write_parquet

from nudge_integrations import fit, solve
from nudge_integrations.corpus import ArrayCorpus, Corpus
from nudge_integrations.errors import InputError
from nudge_integrations.scale import open_corpus, over_ray

ray = pytest.importorskip("ray")
# Ray opens sockets between its processes, and warns of what it will change.
pytestmark = [pytest.mark.enable_socket, pytest.mark.filterwarnings("ignore")]

PARTITIONINGS = int(os.environ.get("NUDGE_PARTITIONINGS", "2"))


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two workers, which find the helpers of these tests."""
    marker = tmp_path_factory.mktemp("ray") / "marker"
    root = Path(__file__).resolve().parents[2]
    paths = [str(root), str(root / "tests" / "helpers"), os.environ.get("PYTHONPATH", "")]
    given = {"PYTHONPATH": os.pathsep.join(paths), "NUDGE_MARKER": str(marker), "OMP_NUM_THREADS": "1"}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": given})
    yield marker
    ray.shutdown()


@pytest.mark.parametrize("seed", range(PARTITIONINGS))
def test_any_partitioning_answers_as_the_array_does(seed: int, tmp_path: Path) -> None:
    random = np.random.default_rng(seed)
    vectors, queries, _, gains = labelled(seed, 10_000, 200)
    vectors[random.choice(len(vectors), 50)] = vectors[7]
    write_parquet(tmp_path, vectors, random.integers(0, len(vectors), random.integers(0, 9)).tolist())
    corpus = over_ray(open_corpus(tmp_path), workers=2)
    assert isinstance(corpus, Corpus)
    found, expected = corpus.search(queries, 30), ArrayCorpus(vectors).search(queries, 30)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    one, other = (solve(c, queries, gains, method="nudge-n") for c in (corpus, vectors))
    assert one.step == other.step
    np.testing.assert_array_equal(one.rows, other.rows)


def test_fit_takes_a_cluster(tmp_path: Path) -> None:
    vectors, queries, dataset, gains = labelled(1, 3000, 300)
    corpus = over_ray(open_corpus(write_parquet(tmp_path, vectors, [100])), workers=2)
    given: dict[str, Any] = {"query_vectors": queries, "method": "nudge-n"}
    assert (
        fit(dataset, "toy", document_vectors=corpus, **given).step
        == solve(vectors, queries, gains, method="nudge-n").step
    )


def test_a_worker_that_is_killed_is_replaced(cluster: Path, tmp_path: Path) -> None:
    vectors, queries, _, _ = labelled(2, 3000, 50)
    files = open_corpus(write_parquet(tmp_path, vectors, [100]))
    files.__class__ = DyingOnce
    found = over_ray(files, workers=2).search(queries, 20)
    assert cluster.exists()
    np.testing.assert_array_equal(found.rows, ArrayCorpus(vectors).search(queries, 20).rows)


def test_a_faulty_row_is_named_as_on_one_machine(tmp_path: Path) -> None:
    vectors, queries, _, _ = labelled(2, 30_000, 20)
    files = open_corpus(write_parquet(tmp_path, vectors, [100]))
    sampled = set(files._sampled(8192, 0).tolist())
    row = next(row for row in range(29_000, 30_000) if row not in sampled)
    vectors[row] = np.nan
    corpus = over_ray(open_corpus(write_parquet(tmp_path, vectors, [100])), workers=2)
    with pytest.raises(InputError, match=rf"part-0001.parquet, row {row - 100}: the vector is not finite"):
        corpus.search(queries, 20)
