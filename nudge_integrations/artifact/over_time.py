"""A nudge's methods over time; the room above works them out from the labels that the nudge keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from nudge_integrations.artifact.saved import SavedNudge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nudge_integrations import Health, Migration, Suspect
    from nudge_integrations.artifact.nudge import Nudge
    from nudge_integrations.encoding import Encoder

__all__ = ["NudgeOverTime"]


class NudgeOverTime(SavedNudge):
    """A nudge with the verbs that come after the first fit."""

    def refit(self, labels: Any = None, store_or_vectors: Any = None, **options: Any) -> Nudge:
        """Fit again to all labels, those that are kept and new ones; see `nudge_integrations.refit`.

        Args:
            labels: New labels, or None.
            store_or_vectors: (n, d) base vectors of the documents; a live store, which is read; or None to embed them.
            **options: ``documents``, ``encoder``, ``on_edit``, ``require_gain`` and all others of `refit`.
        """
        if callable(by_store := getattr(store_or_vectors, "refit", None)):
            return cast("Nudge", by_store(self, labels, **options))
        # Through the front door: rooms below cannot know those above.
        from nudge_integrations import refit

        return refit(cast("Nudge", self), labels, store_or_vectors, **options)

    def health(self, labels: Any = None, vectors: Any = None, **options: Any) -> Health:
        """Say whether it is time to refit; see `nudge_integrations.health`."""
        from nudge_integrations import health

        found: Health = health(cast("Nudge", self), labels, vectors, **options)
        return found

    def suspects(
        self, vectors: Any = None, *, documents: Mapping[str, str] | None = None, most: int = 20
    ) -> list[Suspect]:
        """List the labels whose removal helps most; see `nudge_integrations.suspects`."""
        from nudge_integrations import suspects

        found: list[Suspect] = suspects(cast("Nudge", self), vectors, documents=documents, most=most)
        return found

    def migrate(self, encoder: Encoder, documents: Mapping[str, str], **options: Any) -> Migration:
        """Carry the labels over to another embedding model; see `nudge_integrations.migrate`."""
        from nudge_integrations import migrate

        return migrate(cast("Nudge", self), encoder, documents, **options)
