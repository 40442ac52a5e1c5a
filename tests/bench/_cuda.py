"""The same on a GPU: documents made and kept on the device as float16, time over the product there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import _data
import torch
from _data import Shape
from _tables import note

from nudge_integrations.solver import solve

ROWS = 262_144


def _documents(shape: Shape) -> torch.Tensor:
    """Clustered unit vectors, as in _data, drawn on the device."""
    generator = torch.Generator("cuda").manual_seed(shape.seed)
    clusters, width = max(16, min(shape.documents // 100, 20_000)), shape.dimension
    centres = torch.nn.functional.normalize(torch.randn(clusters, width, device="cuda", generator=generator), dim=1)
    out = torch.empty(shape.documents, width, dtype=torch.float16, device="cuda")
    for first in range(0, len(out), ROWS):
        part = out[first : first + ROWS]
        chosen = torch.randint(clusters, (len(part),), device="cuda", generator=generator)
        noise = torch.randn(len(part), width, device="cuda", generator=generator) / width**0.5
        part.copy_(torch.nn.functional.normalize(centres[chosen] + _data.CLUSTER_SPREAD * noise, dim=1))
    return out


def _timed(call: Callable[[], Any], repeats: int = 3) -> dict[str, Any]:
    seconds = []
    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    for _ in range(repeats):
        torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated()
    memory = {"memory_mib": peak / 2**20, "over_import_mib": peak / 2**20, "over_inputs_mib": (peak - held) / 2**20}
    return {"seconds": sorted(seconds)[repeats // 2], "all_seconds": seconds, **memory}


def _product(documents: torch.Tensor, queries: torch.Tensor) -> None:
    for first in range(0, len(documents), ROWS):
        torch.matmul(queries, documents[first : first + ROWS].to(torch.float32).T)


def cuda(shape: Shape) -> dict[str, Any]:
    """Time solve and the product on the device; memory is the device's."""
    if not torch.cuda.is_available():
        raise SystemExit("the case cuda needs a GPU and a torch built for it; leave out --device cuda")
    documents = _documents(shape)
    pooled = documents[torch.from_numpy(_data.pool(shape)).cuda()].float().cpu().numpy()
    train, chosen, _ = _data.labels(shape, pooled)
    rows = {"floor": _timed(lambda: _product(documents, torch.from_numpy(chosen.queries).cuda()))}
    held_out = (chosen.queries, chosen.gains)
    for method in ("nudge-n", "nudge-m"):

        def call(method: str = method) -> object:
            return solve(documents, train.queries, train.gains, method=method, metric="ndcg@10", validation=held_out)

        rows[f"solve, {method}"] = _timed(call)
        note(f"  cuda {method}: {rows[f'solve, {method}']['seconds']:.2f} s")
    return {"shape": {**shape.as_dict(), "dtype": "float16"}, "rows": rows}
