"""The messages between a worker and the control process.

Each travels as `length u32 (little-endian) · msgpack array`, first item the tag, over a stream socket
that only the two can open.  The link carries the Snapshot down, and doorbells, lease questions and
answers both ways; receipts never travel here, only through the journal file (shared MONEY.md §2).
"""

from __future__ import annotations

from typing import Final

import msgspec

from burncloud.domain.snapshot import RECORD_TYPES, Record

FRAME_BYTES_MAX: Final = 4 << 20


class Hello(msgspec.Struct, array_like=True, tag="hello"):
    """Worker, first message.  `secret` proves the right to speak (loopback TCP; empty on a Unix socket)."""

    pid: int
    worker: int
    """Its index, from 0."""
    secret: str = ""


class Welcome(msgspec.Struct, array_like=True, tag="welcome"):
    """Control's answer to Hello: who we are."""

    ledger: str
    node: str


class Opened(msgspec.Struct, array_like=True, tag="opened"):
    """Worker: my journal exists and I hold its lock; grants may be given to it."""

    journal: str


class Put(msgspec.Struct, array_like=True, tag="put"):
    """Control: these records of one kind are so now.  `rows` are the records' own msgpack."""

    kind: str
    rows: list[msgspec.Raw]


class Drop(msgspec.Struct, array_like=True, tag="drop"):
    """Control: these are gone.  `ids` are int ids, or names for price, group and setting."""

    kind: str
    ids: list[int | str]


class Ready(msgspec.Struct, array_like=True, tag="ready"):
    """Control: the full load is complete up to change number `seq`."""

    seq: int


class Ask(msgspec.Struct, array_like=True, tag="ask"):
    """Worker: grant me at least `need`, at best `want`, for both accounts or neither (0 = not asked)."""

    n: int
    user: int
    user_need: int
    user_want: int
    token: int
    token_need: int
    token_want: int


class Grant(msgspec.Struct, array_like=True, tag="grant"):
    """Control's answer to Ask n: cumulative totals granted to this journal.

    `outcome`: "ok" · "denied" (the database said no: 402) · "unavailable" (it could not be asked: 503).
    `denied` names the account kind that was short ("user" or "token").
    A "denied" carries the totals, too: they may hold what an earlier, lost reply granted.
    """

    n: int
    outcome: str
    user_granted: int = 0
    token_granted: int = 0
    denied: str = ""
    retry_s: int = 0
    """It was a budget that said no, whose next period begins in so many seconds."""


class Recall(msgspec.Struct, array_like=True, tag="recall"):
    """Control: return what is free of this account's lease, now (a Return record and a Bell)."""

    kind: str
    account: int
    granted: int = 0
    """Cumulative, as in Grant: heals a grant whose reply was lost, before it is given back."""
    n: int = 0
    """Counts up for each journal; the Bell that answers it says so."""


class Rewrite(msgspec.Struct, array_like=True, tag="rewrite"):
    """Control: your current segment cannot be synced; write all that is not acked into a new one."""


class Quota(msgspec.Struct, array_like=True, tag="quota"):
    """Control: this account's limit or balance changed; forget a remembered denial."""

    kind: str
    account: int


class Bell(msgspec.Struct, array_like=True, tag="bell"):
    """Worker: my journal has grown to record `seq`.

    Sent before every Ask, so that what was given back counts, and in answer to every Recall.
    """

    seq: int
    recalled: int = 0
    """Number of the newest Recall that is answered: its Return is among the records."""


class Ack(msgspec.Struct, array_like=True, tag="ack"):
    """Control: records up to `seq` are durably booked; segments wholly below may go."""

    seq: int


class Speed(msgspec.Struct, array_like=True, gc=False):
    """How quick a model at a channel is, as a worker compares them."""

    channel: int
    model: str
    first_us: int
    """Running mean of the time to the first byte."""


class Stats(msgspec.Struct, array_like=True, tag="stats"):
    """Worker, every second: plain counters for /api/v1/status, and what was heard of speeds since the last time."""

    counters: dict[str, int]
    speeds: list[Speed] = []


class Part(msgspec.Struct, array_like=True, gc=False):
    """How one part of a channel stands: a key, or a model at it (router/breaker.py)."""

    channel: int
    key: int
    """0 = it is the model."""
    model: str
    """"" = it is the key."""
    state: str
    reason: str = ""
    """Kind of the fault that put it there."""
    status: int = 0
    """What the upstream answered; 0 = nothing."""
    left_ms: int = 0
    """For so long it is not asked; of a probing one: for so long somebody else asks it."""
    step_ms: int = 0
    """Its next pause, if it fails again."""


class Learned(msgspec.Struct, array_like=True, tag="learned"):
    """Worker: these have changed, and are so now.  Control passes it on to the other workers."""

    parts: list[Part]


class Probe(msgspec.Struct, array_like=True, tag="probe"):
    """Control: send this request to that channel with that key, whatever its state, and say what came of it."""

    n: int
    channel: int
    key: int
    model: str
    """Public; "" = `path` is asked for by GET, without any model: the upstream's list of them."""
    path: str
    """As a client asks for it."""
    body: bytes = b""
    timeout_ms: int = 30_000


class Probed(msgspec.Struct, array_like=True, tag="probed"):
    """Worker: what came of Probe n."""

    n: int
    status: int
    """Of our own answer to that request, or the upstream's to a GET; 0 = there was none."""
    reason: str = ""
    """The upstream's fault, if it was one (router/health.py), timeout or unknown (the channel or its key)."""
    upstream_status: int = 0
    """What it answered then; 0 = nothing."""
    duration_us: int = 0
    first_us: int = 0
    """Until the first byte of content."""
    body: bytes = b""


ToControl = Hello | Opened | Ask | Bell | Stats | Learned | Probed
ToWorker = Welcome | Put | Drop | Ready | Grant | Recall | Rewrite | Quota | Ack | Learned | Probe

encode = msgspec.msgpack.Encoder().encode
decode_to_control: msgspec.msgpack.Decoder[ToControl] = msgspec.msgpack.Decoder(ToControl)
decode_to_worker: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
decode_record: dict[str, msgspec.msgpack.Decoder[Record]] = {
    kind: msgspec.msgpack.Decoder(type_) for kind, type_ in RECORD_TYPES.items()
}


def frame(message: ToControl | ToWorker) -> bytes:
    """The message as it goes over the socket."""
    payload = encode(message)
    return len(payload).to_bytes(4, "little") + payload
