"""The small face of the house that the data plane sees.

The router never imports the service, the server or the database; what it needs from beyond this
process it asks through `House`, which app/worker.py builds from the journal and the link.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from burncloud.adaptors.canon import Unreadable
from burncloud.adaptors.translation import Done, Job, Rendered, Visit, Visited, Whole
from burncloud.config import Settings
from burncloud.domain.journal import Again, End, Intent, Progress, Return
from burncloud.domain.link import Ask
from burncloud.errors import Refusal
from burncloud.wire.body import Body
from burncloud.wire.journal import Waiter
from burncloud.wire.upstream import Upstream


class Journal(Protocol):
    """Where money leaves the worker (wire/journal.py)."""

    @property
    def ready(self) -> bool:
        """Whether a new exchange may begin."""

    def intend(self, intent: Intent) -> int:
        """Queue an intent; its number is the exchange's x."""

    def again(self, record: Again) -> None:
        """Queue a further attempt."""

    def progress(self, record: Progress) -> None:
        """Queue what an exchange has used so far."""

    def end(self, record: End) -> None:
        """Queue a receipt."""

    def give_back(self, record: Return) -> None:
        """Queue the return of a part of a lease."""

    def after(self, waiter: Waiter, argument: object) -> None:
        """Call `waiter(argument, ok)` when all that is queued stands in the page cache."""


class Translator(Protocol):
    """Translates large bodies beside the worker (app/translating.py)."""

    def submit(self, job: Job, body: Body, finished: Callable[[tuple[Body, Done] | Refusal], None]) -> None:
        """Have a request written for another dialect; `finished` is called later."""

    def tell(
        self, job: Whole, body: Body, finished: Callable[[tuple[Body, Rendered] | Refusal | Unreadable], None]
    ) -> None:
        """Have an answer written for another dialect; the body may be closed meanwhile."""

    def visit(
        self, job: Visit, body: Body, finished: Callable[[tuple[Body, Visited] | Refusal | Unreadable], None]
    ) -> None:
        """Have a part of a stream written for another dialect, and the translation back."""


class Session(Protocol):
    """A WebSocket between a client and an upstream (realtime.py)."""

    def start(self, up: Upstream, head: bytes) -> None:
        """The upstream's leg stands; `head` opens the client's."""

    def on_client(self, data: bytes) -> None:
        """Bytes from the client."""

    def on_upstream(self, content: bytes | None, ended: bool) -> None:
        """Bytes from the upstream, or its end."""

    def on_lost(self) -> None:
        """The upstream's leg is gone."""

    def on_gone(self) -> None:
        """The client's leg is gone."""

    def on_writable(self, paused: bool) -> None:
        """The upstream takes less than the client says, or has caught up."""

    def look(self, now: float, settings: Settings) -> None:
        """The sweep's look at its clocks."""

    def part(self, refusal: Refusal, code: int) -> None:
        """End it with a word to the client."""


class House(Protocol):
    """What lies beyond the worker."""

    journal: Journal

    def ask(self, question: Ask) -> bool:
        """Send a question about leases; False if nobody can be asked now."""

    def ring(self) -> None:
        """Tell control at once that the journal has grown."""
