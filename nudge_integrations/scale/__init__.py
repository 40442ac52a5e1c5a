"""Corpora larger than memory: Parquet files and Lance datasets, on this machine, in object storage, or over a cluster.

    open_corpus("folder/*.parquet") -> FileCorpus -> solve, select or fit -> what moved
                                                                              |
                     moved rows as Parquet, one commit of Lance, or a copy with the moved rows in it

Nothing but what is asked for is imported: neither pyarrow, Lance nor Ray comes with `import nudge_integrations.scale`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nudge_integrations.scale.catalogue import Skipped
    from nudge_integrations.scale.file_corpus import FileCorpus
    from nudge_integrations.scale.lance_commit import LanceCommit, nudge_lance, restore_lance
    from nudge_integrations.scale.moved_rows import moved_rows, write_moved
    from nudge_integrations.scale.opening import open_corpus
    from nudge_integrations.scale.ray import RayCorpus, over_ray
    from nudge_integrations.scale.rewriting import Rewritten, rewrite
    from nudge_integrations.scale.scan import merged

__all__ = [
    "FileCorpus",
    "LanceCommit",
    "RayCorpus",
    "Rewritten",
    "Skipped",
    "merged",
    "moved_rows",
    "nudge_lance",
    "open_corpus",
    "over_ray",
    "restore_lance",
    "rewrite",
    "write_moved",
]

_MODULES = {
    "catalogue": ("Skipped",),
    "file_corpus": ("FileCorpus",),
    "lance_commit": ("LanceCommit", "nudge_lance", "restore_lance"),
    "moved_rows": ("moved_rows", "write_moved"),
    "opening": ("open_corpus",),
    "ray": ("RayCorpus", "over_ray"),
    "rewriting": ("Rewritten", "rewrite"),
    "scan": ("merged",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


if not TYPE_CHECKING:  # a type checker that saw this would let any name pass

    def __getattr__(name: str) -> Any:
        """Import a public name when it is first asked for: most of them stand on torch."""
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
