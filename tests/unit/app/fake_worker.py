"""A worker as control sees it: a link, a journal written by hand, and what came over the link."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from burncloud.domain.link import Hello, Opened, Ready, ToControl, ToWorker, Welcome
from burncloud.wire.link import LinkClient, Peer
from tests.books import Writer, until

M = TypeVar("M")


class FakeWorker:
    """Says Hello, opens a journal, remembers all it is told."""

    def __init__(self, root: Path, address: str, index: int = 0, secret: str = "", pid: int = 0) -> None:
        self.told: list[ToWorker] = []
        self.closed = 0
        self.writer: Writer | None = None
        self.journal = ""
        """Opened instead of one of its own, if it is not ""."""
        self._root = root
        self._hello = Hello(pid or os.getpid(), index, secret)
        self._link = LinkClient(address, self._on_open, self._on_message, self._on_close)
        self._link.start()

    def of(self, kind: type[M]) -> list[M]:
        """The messages of one kind."""
        return [message for message in self.told if isinstance(message, kind)]

    def send(self, message: ToControl) -> None:
        """Say something."""
        assert self._link.send(message)

    async def hears(self, kind: type[M], count: int = 1) -> None:
        """Wait for so many messages of a kind."""
        await until(lambda: len(self.of(kind)) >= count)

    async def shown_out(self) -> None:
        """Wait until control has closed the link."""
        await until(lambda: self.closed > 0)

    async def loaded(self) -> None:
        """Wait for the whole Snapshot."""
        await self.hears(Ready)

    def unlink(self) -> None:
        """Break the link and stay alive."""
        self._link.close()

    def leave(self) -> None:
        """The process ends: the link breaks, then the lock is free."""
        self.unlink()
        if self.writer is not None:
            self.writer.stop()

    def _on_open(self, peer: Peer[ToWorker]) -> None:
        peer.send(self._hello)

    def _on_message(self, peer: Peer[ToWorker], message: ToWorker) -> None:
        self.told.append(message)
        if isinstance(message, Welcome):
            if self.writer is None and not self.journal:
                self.writer = Writer(self._root, message.ledger)
            peer.send(Opened(self.journal or (self.writer.uuid if self.writer else "")))

    def _on_close(self, peer: Peer[ToWorker]) -> None:
        self.closed += 1
