"""One request on its way through the house: everything known of it, in one record.

An exchange stands in one state at a time; the state says what it waits for, and so which deadline applies
(sweep.py) and what a client that leaves now must pay (settle.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from burncloud.adaptors.framed import FrameMeter
from burncloud.adaptors.meter import Meter, UsageStripper
from burncloud.adaptors.multipart import Form, FormPeek
from burncloud.adaptors.passage import Passage
from burncloud.adaptors.peek import SlicedPeek
from burncloud.adaptors.reading import Reading
from burncloud.adaptors.seam import Continued
from burncloud.adaptors.sieve import Logged, Sieve
from burncloud.adaptors.spoken import Asked
from burncloud.adaptors.translation import Translation
from burncloud.domain.journal import Attempt
from burncloud.domain.pricing import Price
from burncloud.domain.snapshot import Token
from burncloud.router.choose import Route
from burncloud.router.held import Held
from burncloud.router.outlets import Ability, Key, Outlet
from burncloud.router.ports import Session
from burncloud.router.rescued import Rescued
from burncloud.router.routes import Target
from burncloud.wire.body import Body
from burncloud.wire.downstream import Downstream, Inbound
from burncloud.wire.heads import Head
from burncloud.wire.upstream import Upstream
from burncloud.wire.windows import Account

ARRIVING: Final = "arriving"
"""Its head is admitted; the body is coming, or waits for room."""
LEASING: Final = "leasing"
"""The control process is asked for quota."""
DIALLING: Final = "dialling"
"""A connection to the upstream is being made."""
SENT: Final = "sent"
"""The request left (or leaves at the end of this tick); no answer yet."""
HOLDING: Final = "holding"
"""The answer's first bytes are here and not yet passed on: the attempt can still be given up."""
PASSING: Final = "passing"
"""The answer is committed to the client."""
TALKING: Final = "talking"
"""A WebSocket is open: frames pass both ways."""
ENDING: Final = "ending"
"""The receipt is queued; the last bytes go when it is written."""
OVER: Final = "over"

NO_DIGEST: Final = (None, "")
STATES: Final = (ARRIVING, LEASING, DIALLING, SENT, HOLDING, PASSING, TALKING, ENDING, OVER)


def _no_wait() -> None:
    """What an exchange that waits for no room has to give up."""


class Written(msgspec.Struct):
    """The request as a channel of another dialect gets it."""

    body: Body
    losses: list[str]
    sha256: str = ""
    """Of the body, hex; "" = not known yet."""


class Seat:
    """What an exchange takes of limits: put down at admission, put right when it is over."""

    __slots__ = (
        "accounts", "cell", "channel", "channel_cell", "entered", "outlet", "spent", "stand_in", "tokens", "until",
        "used",
    )  # fmt: skip

    def __init__(self, accounts: tuple[Account, ...], cell: int, tokens: int) -> None:
        self.accounts = accounts
        self.cell = cell
        self.tokens = tokens
        """As put down; `used` is what they really were, `spent` what of that was put down when it was used."""
        self.used = self.spent = 0
        self.channel: Account | None = None
        self.channel_cell = 0
        self.outlet: Outlet | None = None
        """The channel that it is in, where that has limits."""
        self.entered: Ability | None = None
        """Where a place was just taken for it."""
        self.until = 0.0
        """It waits in line, until then at most: loop time; 0.0 = it does not."""
        self.stand_in: tuple[Account, int, int] | None = None
        """The limits of another model that is asked instead: cell and tokens as put down there."""


class StandIn(msgspec.Struct, gc=False):
    """Another model is asked than the client asked for."""

    given_up: tuple[str, ...]
    """Those before it, the client's first."""
    fields: bytes = b""
    """The answer's fields without the one that names it."""
    noted: str = ""
    """The model that the journal knows of."""


class Thread(msgspec.Struct, gc=False):
    """The conversation that a request belongs to (affinity.py)."""

    fingerprint: int = 0
    """0 = it is not known by any name."""
    channel: int = 0
    """Where it was, 0 = nowhere yet; with which key."""
    key: int = 0
    until_s: int = 0
    """How long that is kept, monotonic."""
    stateful: bool = False
    """Others may go on from its answer."""
    made: bytes = b""
    """The name of that answer."""


class Exchange(Inbound):
    """A client's request, the attempts to have it answered, and the answer."""

    __slots__ = (
        "ability", "again", "answer_head", "asked", "attempt_ns", "attempts", "bytes_down", "bytes_up", "charge_lost",
        "chunked", "counted", "day", "digest", "endpoint", "failed_keys", "fields", "first_ns", "form", "form_peek",
        "group", "group_ratio_ppm", "held", "held_bytes", "hold_token", "hold_user", "hurried", "is_rival", "key",
        "last", "meter", "model", "money", "n", "no_room", "opening_key", "outlet", "output", "pinned", "price",
        "prompt", "prompt_billed", "pump", "race", "raced", "reading", "reason", "relay", "request_id", "rescue",
        "reserve", "room", "route", "seat", "session", "sieve", "sliced", "spooling", "sse", "stand_in", "started_ns",
        "state", "status", "stream", "stripper", "target", "thread", "token", "touched", "translation", "tried",
        "unwait", "up", "upload", "upload_body", "upstream_model", "upstream_request", "usage_asked", "way",
        "whole", "written", "x",
    )  # fmt: skip

    target: Target
    form_peek: FormPeek
    token: Token
    price: Price
    route: Route[Ability]
    ability: Ability
    """The model at the channel that was chosen; `outlet` is that channel, `key` its credential."""
    outlet: Outlet
    key: Key
    way: str
    """The dialect that the attempt under way is translated to; "" = it goes as it came."""
    sieve: Sieve | Logged | None
    """What the events of a stream go through on their way to the client."""
    whole: Held | None
    """The answer of the attempt under way, where it is turned over as a whole."""
    rescue: Rescued | None
    """Its stream broke off after the commit point: the attempts under way go on with it."""
    race: Exchange | None
    """Who asks another channel for the same (hedge.py); `is_rival`: this one is the second."""
    is_rival: bool
    raced: bool
    """It had a rival, or there was none to be had."""
    n: int
    """Number of the attempt under way, where two are; 0 = the next one."""
    hurried: bool
    """Its head went out before any content came."""
    chunked: bool
    """The answer goes down in chunks."""
    output: int
    """The most output tokens, as stated; where nothing is: minus the number of answers that are asked for."""
    session: Session
    """Of a request for a WebSocket; `opening_key` is what its upstream must answer to."""
    opening_key: bytes

    def __init__(self, client: Downstream, method: bytes, url: bytes, head: Head, length: int, started_ns: int) -> None:
        Inbound.__init__(self, client, method, url, head, length)
        self.state = ARRIVING
        self.started_ns = started_ns
        """Wall clock at admission."""
        self.day = 0
        self.touched = 0.0
        """Loop time of the last sign of life in this state."""
        self.relay = False
        # The request
        self.room = 0
        """Bytes taken from a body budget."""
        self.spooling = self.no_room = False
        self.unwait: Callable[[], None] = _no_wait
        self.form: Form | None = None
        self.sliced: SlicedPeek | None = None
        self.endpoint = self.model = ""  # the first: its name, as in the ledger
        self.stream = False
        self.usage_asked = False
        """The client itself wants the stream's usage."""
        self.prompt = 0  # estimated tokens, for the reserve
        self.prompt_billed = 0
        """Estimated prompt tokens, for a bill where nobody counted."""
        self.asked: Asked | None = None  # in the canonical form, once it had to be read
        self.written: Written | None = None
        self.digest: tuple[Outlet | None, str] = NO_DIGEST  # (channel, SHA-256 of a large body as it gets it, hex)
        self.upload = self.upload_body = b""  # the request as it goes up: head and small body; a larger one in memory
        self.pump: Iterator[bytes] | None = None
        """The rest of a spooled body on its way up."""
        self.seat: Seat | None = None
        self.fields = b""  # of ours for the answer's head: what is left of limits
        # Money
        self.money = False
        """A hold stands or an intent is written: it must be settled."""
        self.group = ""
        self.group_ratio_ppm = self.reserve = 0
        self.hold_user = self.hold_token = self.charge_lost = 0
        self.x = self.n = 0  # the first: number in the journal; 0 = no intent yet
        # Attempts
        self.tried: tuple[Ability, ...] = ()
        self.failed_keys: tuple[Key, ...] = ()
        self.again = False  # a channel that failed is asked a second time
        self.attempts: tuple[Attempt, ...] = ()
        self.stand_in: StandIn | None = None
        self.thread: Thread | None = None
        self.pinned = False
        """Only the channel that made an earlier answer can give this one."""
        self.counted: Ability | None = None
        """It is among the requests that this one is busy with."""
        self.reason = "first"
        self.up: Upstream | None = None
        self.upstream_model = ""
        self.attempt_ns = 0
        # The answer
        self.status = self.first_ns = 0
        self.sse = self.chunked = self.hurried = False
        self.answer_head = b""
        self.held: list[bytes] = []
        self.held_bytes = 0
        self.meter: Meter | FrameMeter | None = None
        self.translation: Translation | Passage | Continued | None = None
        self.stripper: UsageStripper | None = None
        self.sieve = self.whole = self.rescue = self.race = None
        self.raced = self.is_rival = False
        self.reading: Reading | None = None
        self.request_id = self.upstream_request = ""
        self.bytes_up = self.bytes_down = 0
        self.last = b""
        """Bytes that go down when the receipt is written."""

    def __repr__(self) -> str:
        return f"<Exchange {self.request_id} {self.state}, {len(self.attempts)} attempts>"
