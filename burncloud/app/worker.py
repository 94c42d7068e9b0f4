"""A worker process: the data plane put together, and its house: journal and link.

It imports no web framework, no ORM and no database driver.  It serves as soon as the first Snapshot is complete,
goes on serving when the control process is away, and stops when it is told to or when the supervisor is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import os
import signal
import socket
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from burncloud import clock, config, logs
from burncloud.app import child, loop
from burncloud.app.listening import open_listening
from burncloud.app.probing import Prober
from burncloud.app.processes import RETIRE
from burncloud.app.translating import Translating
from burncloud.domain.link import (
    Ack,
    Ask,
    Bell,
    Drop,
    Grant,
    Hello,
    Learned,
    Opened,
    Probe,
    Put,
    Quota,
    Ready,
    Recall,
    Rewrite,
    Speed,
    Stats,
    ToWorker,
    Welcome,
)
from burncloud.router.gateway import Gateway
from burncloud.router.ports import Journal
from burncloud.router.sweep import Sweep
from burncloud.wire.downstream import Downstream
from burncloud.wire.journal import JournalWriter
from burncloud.wire.link import LinkClient, Peer
from burncloud.wire.listener import Listener, LoadMap

BELL_S: Final = 0.05
NEWS_S: Final = 0.02
"""What is learned of channels is collected for so long before it goes to the other workers."""
STATS_S, SPEEDS_S = 1.0, 5.0
JOURNAL_RETRY_S: Final = 1.0
RETIRE_IDLE_S: Final = 5.0
"""A worker whose successor serves keeps idle connections for so long, each for one more request: many clients take a
connection from their pool at the very moment in which it is closed."""
DRAIN_POLL_S: Final = 0.02
FAREWELL_S: Final = 0.25
"""What the clients of WebSockets get to hear that the worker goes."""
_log = logs.logger("burncloud.app.worker")


class Closed:
    """The journal before there is one: nothing may begin."""

    ready = False


class Worker:
    """One worker: the `House` of its gateway."""

    def __init__(self, settings: config.Settings, boot: config.Boot) -> None:
        self._settings = settings
        self._boot = boot
        self._loop = asyncio.get_running_loop()
        self._uuid = uuid.uuid4().hex
        self._writer: JournalWriter | None = None
        self._ledger = ""
        self.journal: Journal = Closed()  # type: ignore[assignment]  # replaced at Welcome, before anything is admitted
        self._bell_due = False
        self._recalled = 0
        """Number of the newest Recall that this link has brought."""
        local = boot.http_path if not boot.http_port else f"127.0.0.1:{boot.http_port}"
        self.gateway = Gateway(self, settings, local, self._uuid[:12])
        self.gateway.limits.share(boot.load_fd, boot.index)
        self.gateway.limits.on_change = self._tell_counters
        self.gateway.affinity.share(str(Path(boot.run_dir, "places")) if boot.run_dir else "")
        self.gateway.health.find = self.gateway.world.outlets.get
        self.gateway.health.on_news = self._news
        self._translating = Translating() if hasattr(socket, "send_fds") else None
        self.gateway.translator = self._translating
        self._prober = Prober(self.gateway, settings, lambda done: self._link.send(done))
        self._sweep = Sweep(self.gateway, settings)
        self._link = LinkClient(
            boot.link_path if not boot.link_port else f"127.0.0.1:{boot.link_port}",
            self._linked,
            self._told,
            self._unlinked,
        )
        self._load = LoadMap(boot.load_fd, boot.index)
        self._listener: Listener | None = None
        self._stopped = asyncio.Event()
        self._stopping = False
        self._speeds_told = 0.0
        self._hurried = False
        """Idle connections are closed at once."""

    # Life

    async def run(self) -> None:
        """Serve until told to stop."""
        running = self._loop
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):
                running.add_signal_handler(number, self.stop)
        if RETIRE is not None:
            running.add_signal_handler(RETIRE, self.retire)
        child.watch_supervisor(self._boot, self.stop)
        self.gateway.clients_max = max(64, (raise_file_limit() - 512) // 2)
        self._link.start()
        self._sweep.start()
        running.call_later(STATS_S, self._tell)
        await self._stopped.wait()

    def stop(self) -> None:
        """Drain: accept no more, finish what runs, within bounds."""
        self._hurried = True
        self.retire()

    def retire(self) -> None:
        """Another worker takes over: the same without haste."""
        if self._stopping:
            return
        self._stopping = True
        self._loop.create_task(self._drain(), name="drain")

    async def _drain(self) -> None:
        if self._listener is not None:
            self._listener.stop()
        begun_ms = clock.monotonic_ms()
        gateway = self.gateway
        while True:
            lasted_ms = clock.monotonic_ms() - begun_ms
            self._part(lasted_ms)
            if not gateway.clients or lasted_ms > self._settings.drain_timeout_ms:
                break
            await asyncio.sleep(DRAIN_POLL_S)
        if gateway.end_sessions():
            await asyncio.sleep(FAREWELL_S)
        for client in list(gateway.clients):
            client.abort()
        await asyncio.sleep(0)
        gateway.desk.close()
        await asyncio.sleep(0)
        if self._writer is not None:
            self._writer.close()
            self.ring()
        await asyncio.sleep(0)
        self._link.close()
        if self._translating is not None:
            self._translating.stop()
        await asyncio.sleep(0.01)
        self._stopped.set()

    def _part(self, lasted_ms: int) -> None:
        """From the clients, in a drain that has lasted so long."""
        now = self._loop.time()
        idle_s = self._settings.client_idle_timeout_ms / 1000
        quiet_s = RETIRE_IDLE_S if lasted_ms > RETIRE_IDLE_S * 1000 else math.inf
        for client in list(self.gateway.clients):
            if self._hurried:
                client.drain()
            else:
                client.retire(now, idle_s, quiet_s)

    def _serve(self) -> None:
        """The world is known and the journal stands: take connections."""
        if self._listener is not None or self._stopping:
            return
        gateway, running = self.gateway, self._loop
        doors = [socket.socket(fileno=fd) for fd in self._boot.listen_fds]
        if not doors:  # Windows: the one worker opens them itself
            doors = open_listening(self._settings.host, self._settings.port)
        listener = Listener(doors, self._load, self._boot.workers, lambda: Downstream(gateway, running))
        self._listener = listener
        gateway.on_count = listener.count
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        listener.start()
        _log.info("worker %d serves", self._boot.index)
        child.announce_ready(self._boot)

    # House

    def ask(self, question: Ask) -> bool:
        """A question about leases."""
        self.ring()  # what this worker gave back must count in the answer
        return self._writer is not None and self._link.send(question)

    def ring(self) -> None:
        """Tell control now that the journal has grown."""
        if self._writer is not None:
            self._link.send(Bell(self._writer.seq, self._recalled))

    def _grown(self, seq: int) -> None:
        if not self._bell_due:
            self._bell_due = True
            self._loop.call_later(BELL_S, self._ring_due)

    def _ring_due(self) -> None:
        self._bell_due = False
        self.ring()

    # Link

    def _linked(self, peer: Peer[ToWorker]) -> None:
        self._recalled = 0
        peer.send(Hello(os.getpid(), self._boot.index, self._boot.secret))

    def _unlinked(self, peer: Peer[ToWorker]) -> None:
        self.gateway.desk.link_lost()
        if not self._stopping:
            _log.warning("the control process is away; serving goes on")

    def _told(self, peer: Peer[ToWorker], message: ToWorker) -> None:
        gateway = self.gateway
        if isinstance(message, Put):
            gateway.world.put(message)
            if message.kind == "setting":
                gateway.tune()
        elif isinstance(message, Drop):
            gateway.world.drop(message)
            if message.kind == "setting":
                gateway.tune()
        elif isinstance(message, Grant):
            gateway.desk.granted(message)
        elif isinstance(message, Probe):
            self._prober.start(message)
        elif isinstance(message, Learned):
            gateway.health.learn(message.parts, self._loop.time())
        elif isinstance(message, Ack):
            if self._writer is not None:
                self._writer.ack(message.seq)
        elif isinstance(message, Recall):
            self._recalled = message.n
            gateway.desk.recall(message.kind, message.account, message.granted)
        elif isinstance(message, Quota):
            gateway.desk.quota_changed(message.kind, message.account)
        elif isinstance(message, Rewrite):
            if self._writer is not None:
                self._writer.rewrite()
        elif isinstance(message, Welcome):
            self._welcome(peer, message)
        elif isinstance(message, Ready):
            gateway.world.ready()
            gateway.tune()
            gateway.desk.link_up()
            self._serve()

    def _welcome(self, peer: Peer[ToWorker], message: Welcome) -> None:
        """Control is there: show it our journal, made now if this is the first time."""
        if self._writer is None:
            root = Path(self._settings.data_dir) / "journal"
            writer = JournalWriter(root, self._uuid, message.ledger, message.node, self._settings.journal_bytes_max)
            writer.on_grown = self._grown
            try:
                writer.open()
            except OSError as error:
                _log.error("no journal can be made, so nothing is served yet: %s", error)
                self._loop.call_later(JOURNAL_RETRY_S, peer.close)  # the link comes back, and with it the next try
                return
            self._writer, self.journal, self._ledger = writer, writer, message.ledger
        elif message.ledger != self._ledger:
            _log.critical("the control process keeps another ledger now; this worker stops")
            self.stop()
            return
        self.gateway.limits.join(message.ledger, message.node)
        self.gateway.world.reload()
        health = self.gateway.health
        if parts := health.report(self._loop.time(), everything=True):  # control may be another one than before
            peer.send(Learned(parts))
        health.news.clear()
        peer.send(Opened(self._uuid))

    def _news(self) -> None:
        self._loop.call_later(NEWS_S, self._tell_news)

    def _tell_news(self) -> None:
        """What was learned of channels; kept while the link is down."""
        health = self.gateway.health
        if health.news and self._link.send(Learned(health.report(self._loop.time()))):
            health.news.clear()

    def _tell(self) -> None:
        """Counters, now and then, the journal's janitor, and what dead workers left."""
        self._loop.call_later(STATS_S, self._tell)
        if self._writer is not None:
            self._writer.janitor()
        self.gateway.limits.bury(self._load.gone())
        now = self._loop.time()
        if now - self._speeds_told < SPEEDS_S:
            self._tell_counters()
            return
        speeds, self._speeds_told = self.gateway.world.speeds(self._speeds_told), now
        self._tell_counters(speeds)

    def _tell_counters(self, speeds: Sequence[Speed] = ()) -> None:
        """For the status page, and for events."""
        gateway = self.gateway
        counters = {
            **gateway.counters, **gateway.limits.counters, "connections": len(gateway.clients),
            "live": len(gateway.live), "tokens": len(gateway.world.tokens), "channels": len(gateway.world.outlets),
        }  # fmt: skip
        if self._writer is not None:
            counters["journal_seq"] = self._writer.seq
            counters["journal_acked"] = self._writer.acked
        self._link.send(Stats(counters, list(speeds)))


def raise_file_limit() -> int:
    """As many descriptors as the system allows; the number."""
    if sys.platform == "win32":
        return 8192
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft


def main() -> None:
    """Entry point of a worker process."""
    settings = config.load()
    boot = config.boot()
    logs.configure(settings.log_level, f"worker {boot.index}")

    async def serve() -> None:
        await Worker(settings, boot).run()

    loop.run(serve())


if __name__ == "__main__":
    main()
