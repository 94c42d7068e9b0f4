"""What came of a case, held against what was written down for it: by the caller, the upstreams and the ledger."""

from __future__ import annotations

import re
from typing import Any, Final

from tests.faults.callers import Heard
from tests.faults.expect import Expect, Range
from tests.faults.house import BIG, IN_PRICE, OUT_PRICE, Case
from tests.faults.voices import TEXT, VOICES

GRACE_S: Final = 0.75
"""A busy machine is no fault of the gateway's."""


def judge(case: Case) -> list[str]:
    """All that is not as it should be; [] = green."""
    expect = case.row.expected(case.stream)
    found = list(case.complaints)
    for heard in case.heard:
        if not heard.beside:
            found += _caller(case, expect, heard)
    for who, wanted in (("primary", expect.primary), ("spare", expect.spare)):
        found += _upstream(case, expect, who, wanted)
    for heard, row in zip(case.heard, case.rows, strict=True):
        found += _ledger(case, expect, heard, row)
    if case.rows and expect.attempts not in ("", "*") and all(case.rows):
        told = attempts(case, [row for heard, row in zip(case.heard, case.rows, strict=True) if not heard.beside][-1])
        if told != expect.attempts:
            found.append(f"attempts: {told or 'none'}, not {expect.attempts}")
    sent = sum(1 for row in case.rows for attempt in row.get("attempts", ()) if attempt["sent"])
    if sent != len(case.visits):
        found.append(f"{len(case.visits)} requests reached upstreams, {sent} attempts stand in the ledger")
    return list(dict.fromkeys(found))


def _caller(case: Case, expect: Expect, heard: Heard) -> list[str]:
    found = [*heard.odd]
    if heard.seconds > expect.within_s + GRACE_S:
        found.append(f"took {heard.seconds:.1f} s, not {expect.within_s:.1f}")
    if expect.text == "whole":
        if heard.error:
            return [*found, f"the caller got {heard.told}: {heard.message[:120]}"]
        if heard.text != TEXT:
            found.append(f"the text is not the answer: {heard.told}")
        if heard.first_s > expect.first_within_s + GRACE_S:
            found.append(f"first token after {heard.first_s:.1f} s, not {expect.first_within_s:.1f}")
        voice = VOICES[case.caller]
        finish = voice.filtered if expect.finish == "filtered" else voice.stop
        if heard.finish != finish:
            found.append(f"finish {heard.finish!r}, not {finish!r}")
    elif expect.error:
        found += _error(expect, heard)
    if not TEXT.startswith(heard.text):
        found.append("wrong text")
    if len(heard.answerers) > 1:
        found.append(f"one stream, {len(heard.answerers)} ids: {heard.answerers}")
    if len(heard.models) > 1:
        found.append(f"one stream, {len(heard.models)} models: {heard.models}")
    shown = case.voices == (case.caller, case.caller)  # a translated answer may have an id of its own
    if shown and expect.answerer != "*" and expect.answerer not in "".join(heard.answerers):
        found.append(f"answered by {heard.answerers}, not by the {expect.answerer}")
    return found


def _error(expect: Expect, heard: Heard) -> list[str]:
    if not heard.error:
        return [f"no error: {heard.told}"]
    if expect.error not in ("*", "any") and expect.error != str(heard.status):
        return [f"error {heard.status} {heard.code}, not {expect.error}: {heard.message[:100]}"]
    if expect.text == "none" and heard.text:
        return [f"{len(heard.text) // 4} tokens before the error"]
    if expect.error != "any" and heard.code in ("", "transport", "None"):
        return [f"an error that says nothing: {heard.error} {heard.message[:100]}"]
    if heard.finish not in ("", "failed") and expect.text == "part":
        return [f"a false stop: {heard.finish}"]
    return []


def _upstream(case: Case, expect: Expect, who: str, wanted: Range) -> list[str]:
    upstream = case.upstreams.get(who)
    if upstream is None:
        return []
    found = list(upstream.errors)
    seen = len(upstream.visits)
    if not wanted[0] <= seen <= wanted[1]:
        low, high = wanted
        found.append(f"{seen} requests at the {who}, not {low if low == high else f'{low} to {high}'}")
    if who == "spare" and expect.begun is not None and seen and bool(upstream.visits[-1].prefill) != expect.begun:
        found.append(f"the spare was {'not ' if expect.begun else ''}given a beginning")
    if expect.loser == who and any(visit.end != "gone" for visit in upstream.visits):
        found.append(f"the {who} lost, and was not cut off")
    if expect.let_go_s and who == "primary":
        for visit in upstream.visits:
            if visit.end != "gone":
                found.append(f"the {who}'s connection was not given up ({visit.end or 'still open'})")
            elif visit.lasted_s > expect.let_go_s + GRACE_S:
                found.append(f"the {who} was given up after {visit.lasted_s:.1f} s, not {expect.let_go_s:.1f}")
    return found


def _ledger(case: Case, expect: Expect, heard: Heard, row: dict[str, Any]) -> list[str]:
    if not row:
        return ["no row in the ledger"]
    found = []
    charge = int(row["charge_nano"])
    given, made = used(row)
    if row["model"] != case.model + expect.model:
        found.append(f"billed as {row['model']}")
    if charge != (given * IN_PRICE + made * OUT_PRICE) * (BIG if expect.model else 1):
        found.append(f"charged {charge} nano for {given}+{made} tokens")
    if sum(int(attempt["charge_nano"]) for attempt in row["attempts"]) != charge:
        found.append("the attempts' charges are not the row's")
    losers = {case.channels[attempt["channel_id"]] for attempt in row["attempts"] if int(attempt["cost_nano"])}
    if losers != ({expect.loser} if expect.loser else set()):
        found.append(f"cost without a charge at {losers or 'none'}, not at {expect.loser or 'none'}")
    if any(int(attempt["cost_nano"]) and int(attempt["charge_nano"]) for attempt in row["attempts"]):
        found.append("a loser is charged")
    if len(row["attempts"]) > expect.sends_max:
        found.append(f"{len(row['attempts'])} attempts, not {expect.sends_max} at most")
    if heard.beside:
        return found
    state = row["state"]
    if state != expect.state and not (expect.state == "failed" and state == "done" and row["status"] >= 400):
        found.append(f"booked as {state}, not {expect.state}")
    wanted = expect.usage or (0, 0)
    off = abs(given - wanted[0]), abs(made - wanted[1])
    if off[0] > expect.slack[0] or off[1] > expect.slack[1]:
        found.append(f"billed {given}+{made} tokens, not {wanted[0]}+{wanted[1]}")
    if expect.estimated is not None and row["estimated"] != expect.estimated:
        found.append("billed by an estimate" if row["estimated"] else "an estimate that is not marked")
    if expect.text == "whole" and expect.told and not heard.error and heard.usage != (given, made):
        found.append(f"the caller was told {heard.usage} tokens, billed {given}+{made}")
    return found


def used(row: dict[str, Any]) -> tuple[int, int]:
    """Input and output tokens of a row; other kinds would make the charge wrong, and so be seen."""
    return row["usage"]["input"], row["usage"]["output"]


def attempts(case: Case, row: dict[str, Any]) -> str:
    """The attempts in a few words."""
    return ", ".join(f"{attempt['reason']} {attempt['status']}" for attempt in row.get("attempts", ()))


def told(case: Case) -> tuple[str, str, str]:
    """What the caller saw, what the upstreams saw, what was billed; of many calls, the last."""
    if not case.heard:
        return "not called", "", ""
    heard = case.heard[-1]
    calls = f"{len(case.heard)} calls, the last: " if len(case.heard) > 1 else ""
    caller = f"{calls}{heard.told}, {max(h.seconds for h in case.heard):.2f} s"
    upstreams = []
    for who, upstream in case.upstreams.items():
        ends = ", ".join(
            dict.fromkeys(f"{visit.end or 'open'} {visit.lasted_s:.1f} s" for visit in upstream.visits[:3])
        )
        size = sum(visit.bytes_sent for visit in upstream.visits)
        upstreams.append(f"{who} {len(upstream.visits)}" + (f" ({ends}, {size} B)" if upstream.visits else ""))
    row = case.rows[-1] if case.rows else {}
    if not row:
        return caller, "; ".join(upstreams), "no row"
    given, made = used(row)
    sign = "~" if row["estimated"] else ""
    sums = f"{row['state']} {sign}{given}+{made} ${int(row['charge_nano']) / 1e9:.6f}"
    return caller, "; ".join(upstreams), f"{sums}: {re.sub(', ', ' · ', attempts(case, row)) or 'no attempt'}"
