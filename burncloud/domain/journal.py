"""The records of a worker's journal and their framing: the only way money leaves a worker.

A segment file is a run of frames, the first holding an `H`; a frame is
`length u32 · crc32 u32 · payload`, little-endian, the payload a msgpack array whose first item is
the record's letter.  Records are numbered from 1 across all segments of a journal; the number is
not stored but counted from the header's `first_seq` (the header itself has none).  A length of 0
is the unwritten rest of a preallocated segment.  Protocol and reasons: shared MONEY.md §2,
docs/money.md.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple
from zlib import crc32

import msgspec

from burncloud.domain.usage import Usage

FORMAT_VERSION: Final = 1
SEGMENT_BYTES: Final = 8 << 20
FRAME = struct.Struct("<II")
RECORD_BYTES_MAX: Final = 1 << 20


class Header(msgspec.Struct, array_like=True, tag="H", gc=False):
    """First frame of each segment."""

    version: int
    ledger: str
    """The uuid of the database that this journal's money belongs to."""
    node: str
    journal: str
    """32 hex digits, random for each worker process."""
    first_seq: int
    """Number of the next record after this header."""


class Attempt(msgspec.Struct, array_like=True, gc=False):
    """One send to an upstream."""

    n: int
    channel: int
    key: int
    reason: str
    """first · failover · hedge · reconnect · continue · fallback."""
    sent: int = 1
    """1 the upstream received it (or its first bytes) · 0 it never left · 2 unknown (interrupted)."""
    status: int = 0
    """The upstream's HTTP status; 0 = none came."""
    charge: int = 0
    """Its part of the row's charge, nano-dollars."""
    duration_us: int = 0
    cost: int = 0
    """Of a hedge's loser: what it presumably cost the house, nano-dollars; nobody is charged for it."""


class Intent(msgspec.Struct, array_like=True, tag="I", gc=False):
    """Written before the first byte of the first attempt goes to an upstream.

    Its own sequence number is the exchange's number x.
    """

    time_ns: int
    """Wall clock at admission."""
    day: int
    """Days since 1970-01-01 UTC at admission: the row's partition, fixed here."""
    request: str
    """Our request id (x-request-id), "req_…"."""
    client_request: str
    """The client's own x-request-id / x-client-request-id, or ""."""
    user: int
    token: int
    channel: int
    key: int
    model: str
    upstream_model: str
    endpoint: str
    group: str
    stream: bool
    price_revision: int
    model_ratio_ppm: int
    group_ratio_ppm: int
    reserve: int
    """The reserve, computed for unlimited payers, too; nano-dollars."""
    hold_user: int
    """What of it stands reserved on the user's lease (0 = unlimited)."""
    hold_token: int
    charge_lost: int
    """What is charged if this exchange is never ended (setting interrupted_charge)."""
    requested: str = ""
    """The model that was asked for, where another one stands in for it."""


class Again(msgspec.Struct, array_like=True, tag="A", gc=False):
    """Written before each further send of exchange x."""

    x: int
    n: int
    channel: int
    key: int
    reason: str
    instead: Intent | None = None
    """Another model is asked from here on: by this it is billed instead."""


class Progress(msgspec.Struct, array_like=True, tag="P", gc=False):
    """What exchange x has used so far."""

    x: int
    usage: Usage
    charge: int


class End(msgspec.Struct, array_like=True, tag="E", gc=False):
    """The receipt: everything the ledger needs, no look-up.  Written before the last bytes go down."""

    x: int
    time_ns: int
    day: int
    request: str
    client_request: str
    user: int
    token: int
    channel: int
    """The answering channel; 0 = none."""
    key: int
    model: str
    upstream_model: str
    endpoint: str
    group: str
    stream: bool
    price_revision: int
    model_ratio_ppm: int
    group_ratio_ppm: int
    reserve: int
    hold_user: int
    hold_token: int
    draw_user: int
    """min(charge, hold_user): what the charge takes from the user's lease."""
    draw_token: int
    charge: int
    usage: Usage
    estimated: bool
    state: str
    """done · gone (client left) · cut (upstream broke off) · failed (no attempt answered) · interrupted."""
    status: int
    """HTTP status sent to the client."""
    duration_us: int
    first_byte_us: int
    """From admission to the first body byte from the answering upstream; 0 = none."""
    bytes_up: int
    bytes_down: int
    client: str
    """The client's address."""
    upstream_request: str
    attempts: tuple[Attempt, ...]
    lossy: str = ""
    """What a translation dropped or approximated: names, comma between."""
    requested: str = ""
    """The model that was asked for, where another one answered (`model`); "" = the same."""


class Return(msgspec.Struct, array_like=True, tag="R", gc=False):
    """A part of a lease given back.  `kind` is "user" or "token"."""

    kind: str
    account: int
    amount: int


class Kept(msgspec.Struct, array_like=True, tag="K", gc=False):
    """At rollover: exchange x is still open; copies of its records, oldest first."""

    x: int
    intent: Intent
    agains: tuple[Again, ...] = ()
    progress: Progress | None = None


class Close(msgspec.Struct, array_like=True, tag="Z", gc=False):
    """A clean stop: no exchange is open, every lease was returned."""


JournalRecord = Header | Intent | Again | Progress | End | Return | Kept | Close

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[JournalRecord] = msgspec.msgpack.Decoder(JournalRecord)
encode_payload = _encoder.encode
_pack: Final = FRAME.pack


def frame(record: JournalRecord) -> bytes:
    """The record as it stands in the file."""
    payload = encode_payload(record)
    return _pack(len(payload), crc32(payload)) + payload


class Scan(NamedTuple):
    """What `scan` found."""

    records: list[JournalRecord]
    offset: int
    """Where the next frame would begin."""
    broken: bool
    """True if bytes that are no intact frame stand at `offset`."""


def scan(data: bytes, offset: int = 0, limit: int = 1 << 30) -> Scan:
    """Read intact frames of `data` from `offset`, at most `limit` of them.

    Stops, not broken, at a zero length or where fewer than eight bytes are left; broken at a
    frame that is cut, whose checksum is wrong or whose payload is no known record.  Never raises.
    """
    records: list[JournalRecord] = []
    end = len(data)
    while len(records) < limit:
        if end - offset < FRAME.size:
            return Scan(records, offset, any(data[offset:end]))
        length, checksum = FRAME.unpack_from(data, offset)
        if length == 0:
            return Scan(records, offset, checksum != 0)
        start = offset + FRAME.size
        payload = data[start : start + length]
        if length > RECORD_BYTES_MAX or len(payload) != length or crc32(payload) != checksum:
            return Scan(records, offset, True)
        try:
            records.append(_decoder.decode(payload))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Scan(records, offset, True)
        offset = start + length
    return Scan(records, offset, False)
