"""Control's side of the links: one entry a worker, its messages brought to the books and the Snapshot to it.

A worker says Hello, gets Welcome; says which journal it opened, gets the whole Snapshot, then every change.
Its questions about leases are answered in tasks of their own, so that a slow one holds up nothing.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import signal
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from burncloud import clock, config, logs
from burncloud.database.engine import DATABASE_ERRORS
from burncloud.database.journals import StaleEpoch
from burncloud.domain.link import (
    Ack,
    Ask,
    Bell,
    Hello,
    Learned,
    Opened,
    Part,
    Probe,
    Probed,
    Rewrite,
    Stats,
    ToControl,
    ToWorker,
    Welcome,
    frame,
)
from burncloud.service.journals import Books, JournalRefused
from burncloud.service.snapshots import Snapshots
from burncloud.service.states import States
from burncloud.wire.link import LinkServer, Peer

WorkerPeer = Peer[ToControl]
RETRY_S: Final = 0.5
PROBE_GRACE_S: Final = 5.0
"""A worker's own time-out comes first."""

log = logs.logger(__name__)


class Worker:
    """What is known of a connected worker."""

    def __init__(self, hello: Hello) -> None:
        self.index = hello.worker
        self.pid = hello.pid
        self.journal = ""
        self.loaded = False
        """It has the whole Snapshot, and gets every change."""
        self.since_ms = clock.monotonic_ms()
        self.counters: dict[str, int] = {}


class Links:
    """All connected workers."""

    def __init__(self, boot: config.Boot, books: Books, snapshots: Snapshots) -> None:
        self._secret = boot.secret
        self._books = books
        self._snapshots = snapshots
        self.states = States()
        """What the workers have learned of the channels."""
        address = f"127.0.0.1:{boot.link_port}" if boot.link_port else boot.link_path
        self._server = LinkServer(address, self._on_open, self._on_message, self._on_close)
        self._peers: set[WorkerPeer] = set()
        self._by_journal: dict[str, WorkerPeer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._probes: dict[int, tuple[WorkerPeer, asyncio.Future[Probed]]] = {}
        self.changed = asyncio.Event()
        """Set whenever a worker came, got its Snapshot or went."""
        self.told = asyncio.Event()
        """Set whenever a worker has told its counters."""
        books.on_ack = lambda uuid, seq: self._send(uuid, Ack(seq))
        books.send_recall = self._send
        books.send_rewrite = lambda uuid: self._send(uuid, Rewrite())

    async def start(self) -> None:
        """Take connections from workers."""
        await self._server.start()

    def publish(self, frames: Sequence[bytes]) -> None:
        """Frames for every worker that has the Snapshot they change."""
        for peer in self._peers:
            if peer.context.loaded:
                for bytes_ in frames:
                    peer.send_raw(bytes_)

    @property
    def ready(self) -> int:
        """How many workers have the whole Snapshot."""
        return sum(peer.context.loaded for peer in self._peers)

    def any_says(self, counter: str) -> bool:
        """Whether the counter of that name is not 0 in some worker."""
        return any(peer.context.counters.get(counter) for peer in self._peers)

    def as_json(self) -> list[dict[str, Any]]:
        """The workers and their counters, by index."""
        now_ms = clock.monotonic_ms()
        workers: list[Worker] = sorted((peer.context for peer in self._peers), key=lambda worker: worker.index)
        return [
            {
                "index": worker.index,
                "pid": worker.pid,
                "journal": worker.journal,
                "ready": worker.loaded,
                "connected_s": (now_ms - worker.since_ms) // 1000,
                "counters": worker.counters,
            }
            for worker in workers
        ]

    async def wait(self, at_least: int, timeout_s: float) -> bool:
        """Wait until that many workers are ready (0: until none is connected); False if the time is over first."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._peers if not at_least else self.ready < at_least:
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Take no more workers, answer none."""
        self._server.close()
        for task in self._tasks:
            task.cancel()

    # What comes in

    def _on_open(self, peer: WorkerPeer) -> None:
        """Nobody yet: only Hello makes it a worker."""

    def _on_message(self, peer: WorkerPeer, message: ToControl) -> None:
        worker: Worker | None = peer.context
        if isinstance(message, Hello):
            self._greet(peer, message)
        elif worker is None:
            peer.close()
        elif isinstance(message, Bell):
            self._books.bell(worker.journal, message.seq, message.recalled)
        elif isinstance(message, Ask):
            self._spawn(self._answer(peer, worker.journal, message))
        elif isinstance(message, Stats):
            worker.counters = message.counters
            self.states.hear(worker.index, message.speeds)
            self.told.set()
        elif isinstance(message, Learned):
            self._learn(peer, message)
        elif isinstance(message, Probed):
            self._probed(message)
        elif isinstance(message, Opened):
            self._spawn(self._open(peer, worker, message.journal))

    def _on_close(self, peer: WorkerPeer) -> None:
        worker: Worker | None = peer.context
        self._peers.discard(peer)
        self.changed.set()
        for n, (other, _) in list(self._probes.items()):
            if other is peer:
                self._probed(Probed(n, 0, "lost"))
        # a worker that is back already has another link for the same journal
        if worker is not None and self._by_journal.get(worker.journal) is peer:
            del self._by_journal[worker.journal]
            self._books.journal_lost(worker.journal)

    def _greet(self, peer: WorkerPeer, hello: Hello) -> None:
        if peer.context is not None or not hmac.compare_digest(hello.secret.encode(), self._secret.encode()):
            log.error("something that is no worker came to the link")
            peer.close()
            return
        peer.context = Worker(hello)
        self._peers.add(peer)
        self.changed.set()
        peer.send(Welcome(self._books.ledger, self._books.guard.node))

    async def probe(self, probe: Probe) -> Probed:
        """Have one of the workers do it, each in turn.  Raises LookupError where there is none."""
        ready = sorted((peer for peer in self._peers if peer.context.loaded), key=lambda peer: int(peer.context.pid))
        if not ready:
            raise LookupError("no worker")
        peer = ready[probe.n % len(ready)]
        done: asyncio.Future[Probed] = asyncio.get_running_loop().create_future()
        self._probes[probe.n] = (peer, done)
        peer.send(probe)
        try:
            async with asyncio.timeout(probe.timeout_ms / 1000 + PROBE_GRACE_S):
                return await done
        except TimeoutError:
            return Probed(probe.n, 0, "timeout")
        finally:
            self._probes.pop(probe.n, None)

    def _probed(self, message: Probed) -> None:
        _, done = self._probes.get(message.n, (None, None))
        if done is not None and not done.done():
            done.set_result(message)

    def _learn(self, peer: WorkerPeer, message: Learned) -> None:
        """What one worker has found out, the others need not find out by themselves."""
        self.states.learn(message.parts)
        self.spread(message.parts, peer)

    def spread(self, parts: list[Part], peer: WorkerPeer | None = None) -> None:
        """All workers but this one are to know."""
        bytes_ = frame(Learned(parts))
        for other in self._peers:
            if other is not peer and other.context.loaded:
                other.send_raw(bytes_)

    async def _open(self, peer: WorkerPeer, worker: Worker, uuid: str) -> None:
        """Let grants go to the worker's journal, then give it the Snapshot."""
        acked = await self._open_journal(uuid)
        if acked is None:
            _start_anew(worker.pid)
            peer.close()
            return
        if not peer.open:  # it went while we asked
            if uuid not in self._by_journal:
                self._books.journal_lost(uuid)
            return
        worker.journal = uuid
        self._by_journal[uuid] = peer
        if acked:
            peer.send(Ack(acked))
        *before, ready = self._snapshots.frames()
        for bytes_ in before:
            peer.send_raw(bytes_)
        if parts := self.states.parts():
            peer.send(Learned(parts))
        peer.send_raw(ready)
        worker.loaded = True
        self.changed.set()

    async def _open_journal(self, uuid: str) -> int | None:
        """Up to where it is booked; None if it is refused."""
        while True:
            try:
                return await self._books.open_journal(uuid)
            except JournalRefused as error:
                log.error("a worker's journal is refused, so it starts anew", extra={"error": str(error)})
                return None
            except StaleEpoch as error:
                self._books.fail(error)
                return None
            except DATABASE_ERRORS as error:
                log.warning("a journal cannot be opened yet", extra={"journal": uuid, "error": str(error)})
            await asyncio.sleep(RETRY_S)

    async def _answer(self, peer: WorkerPeer, uuid: str, ask: Ask) -> None:
        peer.send(await self._books.ask(uuid, ask))

    # What goes out

    def _send(self, uuid: str, message: ToWorker) -> None:
        peer = self._by_journal.get(uuid)
        if peer is not None:
            peer.send(message)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a worker's message could not be handled", exc_info=task.exception())


def _start_anew(pid: int) -> None:
    """Have a worker drain and end; the supervisor starts another one in its place."""
    try:
        os.kill(pid, signal.SIGTERM)
    except OSError:
        log.warning("a worker could not be told to end", extra={"pid": pid})
