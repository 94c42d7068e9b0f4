"""burncloud reload: fresh settings and code in the running server, without a failed request."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, Final, NoReturn

from burncloud import clock, config
from burncloud.app.lock import note_of
from burncloud.cli import output
from burncloud.cli.inputs import AsJson
from burncloud.cli.session import fail
from burncloud.errors import INVALID_REQUEST, SERVICE_UNAVAILABLE

POLL_MS: Final = 50
WAIT_MS: Final = 60_000
WORDS: Final = {
    "checking": "Trying the new settings …",
    "control": "Replacing the control process …",
    "workers": "Replacing the workers …",
}


def reload(json: AsJson = False) -> None:
    """Take up changed settings (.env) and code without a failed request; or say why not, and nothing changes."""
    try:
        settings = config.load()
    except config.ConfigError as error:
        fail(INVALID_REQUEST, str(error), json)
    path = os.path.join(settings.data_dir, "supervisor.lock")
    before = _note(path, json)
    if sys.platform == "win32":
        fail(INVALID_REQUEST, "On Windows stop the server and start it again", json)
    if before.get("state") != "running":
        fail(SERVICE_UNAVAILABLE, "No server runs with this data directory; start one with `burncloud`", json)
    if "reload" not in before:  # the signal would be its end
        fail(INVALID_REQUEST, "The server that runs is too old to reload; stop it and start it again", json)
    number = int(_of(before).get("n", 0))
    os.kill(int(before["pid"]), signal.SIGUSR2)
    said = ""
    give_up_ms = clock.monotonic_ms() + WAIT_MS
    while clock.monotonic_ms() < give_up_ms:
        server = _note(path, json)
        if server.get("state") != "running":
            fail(SERVICE_UNAVAILABLE, "The server has ended, or is about to; see its log", json)
        note = _of(server)
        state = str(note.get("state", ""))
        if int(note.get("n", 0)) > number:
            if state == "done":
                _done(json)
                return
            if state == "refused":
                fail(INVALID_REQUEST, f"Nothing is reloaded, what runs goes on: {note.get('why', '')}", json)
            if state != said and state in WORDS:
                output.note(WORDS[state])
            said = state
        clock.sleep_ms(POLL_MS)
    _late(json)


def _done(json: bool) -> None:
    output.emit({"reloaded": True}) if json else output.say("Reloaded.")


def _late(json: bool) -> NoReturn:
    fail(SERVICE_UNAVAILABLE, f"The server has not said in {WAIT_MS // 1000} s that it is done; see its log", json)


def _note(path: str, json: bool) -> dict[str, Any]:
    """What the server says of itself; {} where none runs."""
    try:
        return note_of(path)
    except OSError as error:
        fail(INVALID_REQUEST, output.os_error_text(error), json)


def _of(note: dict[str, Any]) -> dict[str, Any]:
    found = note.get("reload")
    return found if isinstance(found, dict) else {}
