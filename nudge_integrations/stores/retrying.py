"""Which failures of a store pass by themselves, and how long to wait for that."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nudge_integrations.errors import NudgeError, RolloutError, RolloutInterrupted

__all__ = ["Retries", "Unacknowledged", "is_transient"]

# Server is busy, or a gateway before it.
_PASSING = {408, 425, 429, 500, 502, 503, 504}
# How clients name what passes: connections that drop, servers that restart, transactions that met.
_NAMES = {
    *("ResponseHandlingException", "OperationalError", "SerializationFailure", "DeadlockDetected"),
    *("ConnectError", "ReadError", "WriteError", "ConnectTimeout", "ReadTimeout", "WriteTimeout", "PoolTimeout"),
    *("RemoteProtocolError", "RateLimitError"),
}


class Unacknowledged(RolloutError):
    """A store did not acknowledge rows, or acknowledged rows that it does not hold."""


def is_transient(error: BaseException) -> bool:
    """Say whether trying again may help.

    >>> is_transient(TimeoutError()), is_transient(MemoryError())
    (True, False)
    """
    if isinstance(error, TimeoutError | ConnectionError | Unacknowledged):
        return True
    status = getattr(error, "status_code", getattr(error, "status", None))
    return status in _PASSING or any(kind.__name__ in _NAMES for kind in type(error).__mro__)


@dataclass(frozen=True)
class Retries:
    """How often a step is tried, and how long is waited in between: twice as long each time.

    Attributes:
        attempts: How often, in all.
        first_wait: Seconds before the second attempt.
        longest_wait: No wait is longer.
        sleep: What waits.
    """

    attempts: int = 5
    first_wait: float = 0.5
    longest_wait: float = 30.0
    sleep: Callable[[float], object] = time.sleep

    def run(self, action: Callable[[], None], journal: Path, batches: Sequence[str]) -> None:
        """Run a step until it succeeds.

        Raises:
            RolloutError: If it fails for good; names the batches and says how to go on.
            RolloutInterrupted: If the user interrupts it.
        """
        for attempt in range(1, self.attempts + 1):
            try:
                action()
            except NudgeError as error:
                if not is_transient(error):
                    raise
                failure: BaseException = error
            except (Exception, KeyboardInterrupt) as error:
                failure = error
            else:
                return
            if attempt == self.attempts or not is_transient(failure):
                kind = RolloutInterrupted if isinstance(failure, KeyboardInterrupt) else RolloutError
                raise kind(_message(failure, attempt, journal, batches)) from failure
            self._wait(attempt, journal, batches)

    def _wait(self, attempt: int, journal: Path, batches: Sequence[str]) -> None:
        try:
            self.sleep(min(self.longest_wait, self.first_wait * 2 ** (attempt - 1)))
        except KeyboardInterrupt as interruption:
            raise RolloutInterrupted(_message(interruption, attempt, journal, batches)) from interruption


def _message(failure: BaseException, attempts: int, journal: Path, batches: Sequence[str]) -> str:
    what = ", ".join(batches[:3]) + (f" and {len(batches) - 3} more" if len(batches) > 3 else "")
    why = "interrupted" if isinstance(failure, KeyboardInterrupt) else f"{type(failure).__name__}: {failure}"
    return (
        f"batch {what or '(none)'} of {journal} was not finished ({why}; {attempts} attempt{'s'[: attempts > 1]}). "
        f"Nothing is lost: store.resume() goes on, store.rollback() gives base vectors back (on the command line, "
        f"nudge store resume and rollback), with the journal folder {str(journal.parent)!r}"
    )
