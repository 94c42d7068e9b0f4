"""A dialogue with a translator beside the worker that does nothing before it is told to."""

from __future__ import annotations

from typing import Any

import msgspec

from burncloud.adaptors.canon import Unreadable
from burncloud.adaptors.translation import Job, Visit, Whole, tell, visit
from burncloud.errors import Refusal
from burncloud.wire.body import SPOOL_FROM, Body
from tests.dialogue import MODEL, Client, Dialogue, UpstreamEnd
from tests.speech import post
from tests.stage import Loop

ASKED = {"model": MODEL, "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
PATH = "/v1/messages"


def do(job: Whole | Visit, body: bytes) -> tuple[bytes, Any]:
    """What the process does with a job that is no request."""
    return visit(job, body) if isinstance(job, Visit) else tell(job, body)


class Beside:
    """A translator that keeps its job until told."""

    def __init__(self, loop: Loop) -> None:
        self.jobs: list[tuple[Whole | Visit, Body, Any]] = []
        self._loop = loop

    def submit(self, job: Job, body: Body, finished: Any) -> None:
        raise AssertionError("only answers are large here")

    def tell(self, job: Whole | Visit, body: Body, finished: Any) -> None:
        self.jobs.append((job, Body(fd=body.file(), size=body.size), finished))

    visit = tell

    def done(self, outcome: Refusal | None = None) -> None:
        self._do(outcome)
        self._loop.tick()

    def _do(self, outcome: Refusal | None) -> None:
        job, body, finished = self.jobs.pop(0)
        content = body.everything()
        body.close()
        if outcome is not None:
            finished(outcome)
            return
        try:
            told, rendered = do(msgspec.json.decode(msgspec.json.encode(job), type=Whole | Visit), content)
        except Unreadable as error:
            finished(error)
            return
        result = Body()
        for at in range(0, len(told), SPOOL_FROM):
            result.add(told[at : at + SPOOL_FROM])
        finished((result, rendered))


class Talk(Dialogue):
    """A dialogue with such a translator; no file may be left behind."""

    def __enter__(self) -> Talk:
        super().__enter__()
        self.beside = Beside(self.loop)
        self.gateway.translator = self.beside
        return self

    def __exit__(self, *given: Any) -> None:
        super().__exit__(*given)
        arrivals = self.gateway.arrivals
        assert arrivals.files.free == arrivals.files.total

    def asking(self, **members: Any) -> tuple[Client, UpstreamEnd]:
        client = self.client()
        client >> post({**ASKED, **members}, PATH)
        return client, self.upstream()
