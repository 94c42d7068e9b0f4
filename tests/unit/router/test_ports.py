"""The face of the house: who must have it, has it."""

from __future__ import annotations

from burncloud.app.worker import Worker
from burncloud.router.ports import House, Journal
from burncloud.wire.journal import JournalWriter


def test_the_worker_is_a_house_and_its_writer_a_journal() -> None:
    """mypy holds the signatures (these two functions); here stands that nothing is missing at run time."""

    def is_house(worker: Worker) -> House:
        return worker

    def is_journal(writer: JournalWriter) -> Journal:
        return writer

    assert callable(is_house)
    assert callable(is_journal)
    for face, body in ((House, Worker), (Journal, JournalWriter)):
        names = {name for name in vars(face) if not name.startswith("_")}
        assert names
        assert not {name for name in names if not hasattr(body, name)}
