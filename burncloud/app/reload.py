"""A reload: fresh settings and code take over, and not one request fails.

Three steps, each begun when the one before is done; what cannot go on is refused, and what runs stays:

    check     a process of its own tries whether the house would start like this
    control   the control process goes and another one comes; workers serve on without it for that second
    workers   new ones come beside the old; for each that serves an old one retires: it takes no more connections,
              says `Connection: close`, and ends when its streams are over or DRAIN_TIMEOUT_MS is

Listening sockets stay open throughout and pass to the new workers (DATAPLANE.md rule 15).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from burncloud import config, logs
from burncloud.app import listening
from burncloud.app.processes import Child

FIXED: Final = ("database_url", "data_dir")
"""Settings that say whose money this is: they take a restart."""
REASON_FILE: Final = "reason"
"""In the run directory: why the check failed."""

log = logs.logger(__name__)


class Refused(Exception):
    """It cannot be done; the message says why."""


class House(Protocol):
    """The supervisor, as a reload sees it."""

    settings: config.Settings
    environment: Mapping[str, str]
    control: Child
    workers: list[Child]
    doors: list[socket.socket]

    def launch(self, child: Child) -> None:
        """Start a process in its place."""

    def free_place(self) -> int | None:
        """The number of a worker's place that nobody has."""

    def retire(self, worker: Child) -> None:
        """Let it serve what it has, and go."""

    def discard(self, child: Child) -> None:
        """End it at once."""


class Reload:
    """One reload under way; `state` is what it does now: checking, control, workers, done or refused."""

    def __init__(self, house: House, number: int, check: Sequence[str]) -> None:
        """Raises Refused where it cannot even begin."""
        self._house = house
        self.number = number
        self.state = "checking"
        self.why = ""
        try:
            self._environment = config.environment()
            self._settings = config.load(self._environment)
        except config.ConfigError as error:
            raise Refused(str(error)) from None
        for name in FIXED:
            if getattr(self._settings, name) != getattr(house.settings, name):
                raise Refused(f"{name.upper()} has changed, which takes a restart.")
        self._doors = self._open_doors()
        self._boot = house.control.boot
        self._check = Child(replace(self._boot, role="check"), check, self._environment)
        self._missing = 0
        self.coming: list[Child] = []
        """New workers that do not serve yet."""
        self._leaving: list[Child] = []
        """Old ones that were not told to go yet."""
        self._before = (house.environment, house.control.boot)
        self._old_control = house.control.process
        house.launch(self._check)

    def _open_doors(self) -> list[socket.socket]:
        """The sockets to serve on; new ones where the address has changed."""
        old, new = self._house.settings, self._settings
        if (old.host, old.port) == (new.host, new.port):
            return self._house.doors
        try:
            return listening.open_listening(new.host, new.port)
        except listening.CannotListen as error:
            raise Refused(f"{error}.") from None

    @property
    def over(self) -> bool:
        """Nothing more will come of it."""
        return self.state in ("done", "refused")

    @property
    def children(self) -> list[Child]:
        """Processes that it has begun and not handed over."""
        return [] if self.over else [self._check, *self.coming]

    def go_on(self) -> None:
        """Something may have happened: take the next step if it is its time."""
        if self.state == "checking":
            self._checked()
        elif self.state == "control":
            self._replaced()
        elif self.state == "workers":
            self._take_over()

    def give_up(self, why: str) -> None:
        """What was begun is undone, what ran stays."""
        house = self._house
        for child in self.children:
            house.discard(child)
        if self._doors is not house.doors:
            for door in self._doors:
                door.close()
        if self.state != "checking":
            house.environment, house.control.boot = self._before
            house.control.environment = house.environment
            for worker in house.workers:
                worker.environment = house.environment
        self.state, self.why = "refused", why
        log.error("nothing is reloaded, what runs goes on: %s", why)

    # The steps

    def _checked(self) -> None:
        check = self._check
        if check.process is not None:
            return
        if check.status:
            self.give_up(self._reason())
            return
        self.state = "control"
        control = self._house.control
        control.environment = self._environment
        control.boot = replace(control.boot, workers=self._settings.workers)
        self._old_control = control.process
        control.retire(self._settings.drain_timeout_ms)

    def _reason(self) -> str:
        path = os.path.join(self._boot.run_dir, REASON_FILE)
        try:
            with open(path, encoding="utf-8") as file:
                reason = file.read()
            os.unlink(path)
        except OSError:
            return "the program does not start (see above)"
        return reason

    def _replaced(self) -> None:
        control = self._house.control
        if control.process is self._old_control:
            return
        if control.failures:
            self.give_up("the control process does not start (see above)")
        elif control.process is not None and control.ready:
            self.state = "workers"
            self._leaving = list(self._house.workers)
            self._missing = self._settings.workers
            self._take_over()

    def _take_over(self) -> None:
        house = self._house
        for worker in list(self.coming):
            if worker.failures:
                self.give_up("a new worker does not start (see above)")
                return
            if worker.ready:
                self.coming.remove(worker)
                house.workers.append(worker)
                if self._leaving:
                    self._let_go(self._leaving.pop(0))
        while self._missing and (place := house.free_place()) is not None:
            self._missing -= 1
            doors = tuple(door.fileno() for door in self._doors)
            template = house.workers[0].boot
            boot = replace(template, index=place, workers=self._settings.workers, listen_fds=doors)
            worker = Child(boot, house.workers[0].program, self._environment)
            self.coming.append(worker)
            house.launch(worker)
        if not self._missing and not self.coming:
            self._finish()

    def _let_go(self, worker: Child) -> None:
        self._house.workers.remove(worker)
        self._house.retire(worker)

    def _finish(self) -> None:
        house = self._house
        for worker in self._leaving:  # fewer workers than before
            self._let_go(worker)
        if self._doors is not house.doors:
            for door in house.doors:
                door.close()
            house.doors = self._doors
        house.settings, house.environment = self._settings, self._environment
        self.state = "done"
        log.info("reloaded")
