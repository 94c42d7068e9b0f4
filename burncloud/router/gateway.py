"""The life of a request, top to bottom.

    know      what is asked (routes) and who asks (token)
    admit     may he: enabled, expiry, network; is there room for the body
    peek      model, stream, sizes: read off the body without building it
    scope     may he use this model, and which channels have it
    quote     its price, and the most it can cost
    reserve   that much on the leases
    choose    a channel, and a connection to it
    send      the intent to the journal, then the request to the upstream
    (answer)  on its way back: router/answer.py; the receipt: router/settle.py

Each step raises a Refusal or goes on to the next.  Where a step must wait (for the body, a lease, a connection) it
returns, and what it waited for calls the next one: no task, no lock, no timer for an ordinary request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from burncloud import clock, crash
from burncloud.adaptors.peek import Peek
from burncloud.adaptors.translation import Done
from burncloud.config import Settings, tuned
from burncloud.domain.money import RATIO_ONE
from burncloud.domain.names import among
from burncloud.errors import (
    INVALID_REQUEST,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    PERMISSION_DENIED,
    SERVICE_UNAVAILABLE,
    Refusal,
)
from burncloud.router import listing, relay, settle
from burncloud.router.affinity import Affinity
from burncloud.router.answer import Answers
from burncloud.router.arrival import Arrivals
from burncloud.router.desk import Desk
from burncloud.router.doorway import admit, know
from burncloud.router.exchange import (
    ARRIVING,
    DIALLING,
    ENDING,
    HOLDING,
    LEASING,
    OVER,
    PASSING,
    SENT,
    TALKING,
    Exchange,
)
from burncloud.router.failover import Failover
from burncloud.router.fallbacks import Fallbacks
from burncloud.router.fault import Fault
from burncloud.router.heading import estimate, own_answer, refused
from burncloud.router.health import Health
from burncloud.router.hedge import Hedges
from burncloud.router.limits import Limits
from burncloud.router.outlets import Ability, Outlet
from burncloud.router.ports import House, Translator
from burncloud.router.question import look_at
from burncloud.router.realtime import Realtime
from burncloud.router.rescue import Rescues
from burncloud.router.routes import ANY_GEMINI, REALTIME, Target, target
from burncloud.router.translate import TURN_BYTES, Lossy, forget, is_heavy, job_of, take, translate, way_of
from burncloud.router.upload import hash_first, make_upload
from burncloud.router.world import World
from burncloud.wire.body import Body
from burncloud.wire.downstream import Downstream
from burncloud.wire.heads import Head
from burncloud.wire.pool import FULL, Pool
from burncloud.wire.resolver import Resolver
from burncloud.wire.upstream import Upstream
from burncloud.wire.websocket import GOING_AWAY

TARGETS_MAX: Final = 4096
UNPRICED: Final = (
    "The model `%s` has no price here, so it cannot be billed; the operator sets one with `burncloud price set`"
)
NO_OUTPUT: Final = frozenset(("embeddings", "embedContent", "moderations", "rerank", "count_tokens", "countTokens"))
"""Endpoints that answer no generated tokens."""


class Gateway:
    """All requests of one worker (the `App` of its client connections)."""

    def __init__(self, house: House, settings: Settings, control: str, prefix: str) -> None:
        """`control`: where the control process serves HTTP; `prefix`: of request ids, unique to this process."""
        self._loop = asyncio.get_running_loop()
        self._house = house
        self._settings = self._told = settings
        self._prefix = "req_" + prefix
        self._count = 0
        self._targets: dict[bytes, Target] = {}
        self.arrivals = Arrivals(settings, self._loop, self.refuse, self.on_complete)
        self.on_piece = self.arrivals.on_piece
        self.desk = Desk(house, clock.monotonic_ms)
        self.health = Health()
        ways = (self.attempt_failed, self.free, self.arrivals.drop, self.refuse)
        aside = (lambda: self.translator, self.arrivals.files)
        self.answers = Answers(house, self.desk, self.health, self._loop, clock.now_ns, *ways, *aside)
        self.realtime = Realtime(house, self.desk, self.health, self._loop, self.free)
        self.answers.opened = self.realtime.opened
        bounds = settings.connect_timeout_ms, settings.pool_idle_ms, settings.pool_connections_max
        self.pool = Pool(self.answers, Resolver(settings.upstream_deny), *bounds)
        self.world = World(self.pool.origin, settings.upstream_ca_file)
        self.relay = relay.Relay(self.pool, control, settings.trusted_proxies, self._no_control)
        self.live: set[Exchange] = set()
        self.clients: set[Downstream] = set()
        self.clients_max = 1 << 30
        again = (self._go, lambda x: self._dial(x, x.outlet), self.refuse)
        self.world.tune(settings.affinity == "on", settings.unpriced == "free")
        self.affinity = Affinity(self.world, self._loop.time)
        self.fallbacks = Fallbacks(self.world, self.desk, self, lambda: self._settings.attempts_timeout_ms)
        self.answers.judge.elsewhere = self.fallbacks.has
        self.failover = Failover(house, self.desk, self.health, self._loop, self.world, self.fallbacks, *again)
        self.answers.judge.has_more = lambda x, same: self.failover.has_more(x, same, self._settings)
        hands = (*again[:2], self._written, self.answers.lament, self.arrivals.is_roomy, aside[0])
        self.rescues = Rescues(self.world, self.health, self._loop, lambda: self._settings, *hands)
        self.limits = Limits(self.world, self._loop, self._go, self.refuse, settings)
        self.limits.another, self.rescues.another = self.failover.another, self.failover.anyone
        self.limits.proceed, self.failover.wait = self._admitted, self.limits.wait_for
        self.fallbacks.count, self.realtime.spent = self.limits.stand_in, self.limits.spent
        counted = (lambda x: self._move(x, None), self.limits)
        self.hedges = Hedges(self.world, self.health, self._loop, self.live, self._go, *counted)
        self.hedges.tune(settings)
        self.answers.winner, self.answers.record = self.hedges.won, self.rescues.record
        self.answers.goes_on, self.answers.may_go_on = self.rescues.broke, self.rescues.may_go_on
        self.translator: Translator | None = None  # who writes large bodies for another dialect
        self.on_count: Callable[[int], None] = lambda change: None
        self.counters = self.answers.counters

    def tune(self) -> None:
        """The settings in the Snapshot have changed: those that may change while we run win over the environment's."""
        self._settings = tuned(self._told, self.world.settings)
        self.hedges.tune(self._settings)
        self.world.tune(self._settings.affinity == "on", self._settings.unpriced == "free")

    # Connections

    def joined(self, client: Downstream) -> bool:
        """A client connected."""
        self.on_count(1)
        self.clients.add(client)
        client.deadline = self._loop.time() + self._settings.head_timeout_ms / 1000
        return len(self.clients) <= self.clients_max

    def left(self, client: Downstream) -> None:
        """A client's connection is gone."""
        self.on_count(-1)
        self.clients.discard(client)

    def exchange(self, client: Downstream, method: bytes, url: bytes, head: Head, length: int) -> Exchange:
        """A request whose head is good HTTP."""
        return Exchange(client, method, url, head, length, clock.now_ns())

    # Know and admit

    def on_head(self, x: Exchange) -> None:
        """The head of a request, at its turn."""
        self._count = n = self._count + 1
        x.request_id = f"{self._prefix}{n:x}"
        x.touched = self._loop.time()
        self.live.add(x)
        try:
            found = self._targets.get(x.url)
            if found is None or x.method != b"POST":
                found = self._look_up(x)
            x.target = found
            if found.endpoint is not None:
                token = x.head.memo
                if token is None or found.key:
                    token = know(self.world, x)
                x.token = token
                admit(self.world, self._house.journal, self.relay, x, token)
            else:
                x.relay = True
                self.relay.admit(x)
            self.arrivals.make_room(x)
        except Refusal as refusal:
            self.refuse(x, refusal)

    def _look_up(self, x: Exchange) -> Target:
        x.target = ANY_GEMINI if x.url.startswith(b"/v1beta/") else Target(None, x.url)
        found = target(x.method, x.url, x.head.fields)
        if found.allow:
            x.target = found
            method, path, allow = (text.decode("latin-1") for text in (x.method, found.path, found.allow))
            raise Refusal(METHOD_NOT_ALLOWED, f"{path} takes {allow}, not {method}")
        if found.endpoint is REALTIME:
            x.target = found
            return self.realtime.begin(x, found)
        if x.method == b"POST" and not found.key and len(self._targets) < TARGETS_MAX:
            self._targets[x.url] = found
        return found

    # The straight line

    def on_complete(self, x: Exchange) -> None:
        """The request is complete: serve it."""
        if x.no_room or x.done or x.state is not ARRIVING or (x.sliced is not None and x in self.arrivals.resting):
            return
        try:
            if x.relay:
                self.relay.serve(x)
                return
            endpoint = x.target.endpoint
            if endpoint is not None and endpoint.model_in == "none":
                self._answer(x, 200, listing.listing(self.world, x))
                return
            self.counters["requests"] += 1
            peek, members = look_at(self.world, x)
            if not self._scope(x):
                return
            self._quote(x, peek)
            if x.prompt >= x.route.affine_from:
                self.affinity.look(x, members)
            if x.state is ARRIVING:
                self._admitted(x)
        except Refusal as refusal:
            self.refuse(x, refusal)

    def _admitted(self, x: Exchange) -> None:
        if x.stand_in is not None:
            self.fallbacks.label(x, x.stand_in)
        if self._reserve(x):
            self.choose(x)

    def _scope(self, x: Exchange) -> bool:
        """May the token use this model, and who has it; False = it is answered already."""
        endpoint = x.target.endpoint
        assert endpoint is not None
        model = x.model
        models = x.token.models
        if models is not None and model not in models and not among(models, model):
            raise Refusal(PERMISSION_DENIED, f"This token may not use the model `{model}`")
        route = self.world.route(endpoint, x.group, model)
        if route is None:
            has = self.world.served(model, x.group, endpoint)
            if has and self.world.is_made_up(x.group, model):
                raise Refusal(INVALID_REQUEST, UNPRICED % model)
            if self.fallbacks.early(x):
                return True
            if has:
                raise Refusal(SERVICE_UNAVAILABLE, f"No channel for the model `{model}` is available", 1)
            if self.world.served(model, x.group):
                if endpoint.counted:
                    self._answer(x, *estimate(x, endpoint))
                    return False
                raise Refusal(NOT_FOUND, f"No channel for the model `{model}` speaks this API")
            raise Refusal(NOT_FOUND, f"The model `{model}` does not exist here")
        x.route = route
        return True

    def _quote(self, x: Exchange, peek: Peek) -> None:
        """The price of the request and the most it can cost."""
        x.output = peek.output_tokens or -peek.choices
        while True:
            try:
                if (output := self.price(x)) < 0:
                    raise Refusal(INVALID_REQUEST, UNPRICED % x.model)
                if self.world.limits:
                    self.limits.admit(x, x.prompt + output)
                return
            except Refusal:
                if x.stand_in is None or not self.fallbacks.early(x):  # the next one that stands in
                    raise

    def price(self, x: Exchange) -> int:
        """Set price, ratio and reserve for `x.model`; the output tokens that it reserves, −1 = it has no price."""
        endpoint = x.target.endpoint
        assert endpoint is not None
        tariff = self.world.tariff(endpoint, x.model)
        if tariff is None:
            return -1
        x.price = price = tariff.price
        group = self.world.groups.get(x.group)
        x.group_ratio_ppm = ratio = RATIO_ONE if group is None else group.ratio_ppm
        output = x.output
        if output < 0:
            output = 0 if endpoint.name in NO_OUTPUT else self._settings.default_reserve_output
            if 0 < price.output_tokens_max < output:
                output = price.output_tokens_max
            output *= -x.output
        x.reserve, alone = tariff.quote(x.prompt, output, x.prompt_billed, ratio)
        lost = self._settings.interrupted_charge
        if lost != "none":
            x.charge_lost = x.reserve if lost == "reserved" else alone
        return output

    def _reserve(self, x: Exchange) -> bool:
        """Hold the reserve on the leases; False = an answer of the control process calls `choose`."""
        token = x.token
        amount = x.reserve
        payer = self.world.users.get(token.user)
        if payer is None:
            raise Refusal(PERMISSION_DENIED, "The user of this token is disabled")
        user = token.user if payer.limited else 0
        limited = token.id if token.limited else 0
        if not (amount and (user or limited)):
            return True
        if self.desk.hold(user, limited, amount):
            if user:
                x.hold_user = amount
            if limited:
                x.hold_token = amount
            x.money = True
            return True
        x.state = LEASING
        self.desk.wait(user, limited, amount, lambda refusal: self._leased(x, user, limited, refusal))
        return False

    def _leased(self, x: Exchange, user: int, token: int, refusal: Refusal | None) -> None:
        """The control process has answered."""
        if refusal is not None:
            if not x.done:
                self.refuse(x, refusal)
            return
        x.hold_user = x.reserve if user else 0
        x.hold_token = x.reserve if token else 0
        x.money = True
        if x.done:
            settle.release(x, self.desk)
            return
        try:
            self.choose(x)
        except Refusal as later:
            self.refuse(x, later)

    def choose(self, x: Exchange) -> None:
        """The next channel, and a connection to it."""
        ability = x.route.pick(x.tried) if x.thread is None else self.affinity.pick(x, x.thread)
        ability = ability or self.failover.another(x) or self.failover.nobody(x)
        if ability is not None:
            self._go(x, ability)

    def _go(self, x: Exchange, ability: Ability) -> None:
        """To this channel: the request is written for it, if it must be, then a connection is taken or made."""
        entered = self.limits.enter(x, ability) if self.limits.channels else ability
        if entered is None:
            return
        x.ability = ability = entered
        if x.route.counted:
            self._move(x, ability)
        x.outlet = outlet = ability.outlet
        known = None if x.thread is None else self.affinity.key(x, x.thread, outlet)
        x.key = key = known or outlet.key(x.failed_keys) or outlet.any_key()
        if self.health.resting and outlet in self.health.resting:
            self.health.chosen(ability, key, self._loop.time(), x.request_id)
        if x.rescue is not None:
            if self.rescues.write(x):
                self._connect(x, outlet)
            return
        x.way = way_of(x)
        if x.way:
            body = x.body
            if self.translator is not None and body is not None and is_heavy(body):
                x.state = DIALLING
                self.translator.submit(job_of(x), body, lambda result: self._written(x, result))
                return
            try:
                translate(x)
            except Lossy:
                if not self.failover.unfit(x):
                    raise
                return
        elif x.written is not None:
            forget(x)
        self._connect(x, outlet)

    def _move(self, x: Exchange, ability: Ability | None) -> None:
        """It is this one that the request is at now; the one that it was at has answered, or not."""
        before, x.counted = x.counted, ability
        if before is not None:
            before.busy -= 1
            if x.first_ns > x.attempt_ns:  # else it went on with a stream that began before
                before.answered((x.first_ns - x.attempt_ns) / 1e9, self._loop.time(), x.status < 400)
        if ability is not None:
            ability.busy += 1

    def _written(self, x: Exchange, result: tuple[Body, Done] | Refusal) -> None:
        """The translator has answered."""
        if x.done or x.state is not DIALLING:
            if not isinstance(result, Refusal):
                result[0].close()
            return
        try:
            if isinstance(result, Refusal):
                raise result
            take(x, *result)
            self._connect(x, x.outlet)
        except Refusal as refusal:
            if x.rescue is not None:
                self.rescues.refused(x, x.rescue, refusal)
            elif not (isinstance(refusal, Lossy) and self.failover.unfit(x)):
                self.refuse(x, refusal)

    def _connect(self, x: Exchange, outlet: Outlet) -> None:
        if outlet.reach is not None and hash_first(x, self._loop, self._connect):
            return
        up = outlet.origin.take()
        if up is not None:
            self._send(x, up)
        else:
            self._dial(x, outlet)

    def _dial(self, x: Exchange, outlet: Outlet) -> None:
        x.state = DIALLING
        self.pool.dial(outlet.origin, lambda up, reason: self._dialled(x, up, reason), x.token.id)

    def _dialled(self, x: Exchange, up: Upstream | None, reason: str) -> None:
        """The connection stands, or it does not."""
        if x.done or x.state is not DIALLING:
            if up is not None:
                up.keep = True
                up.origin.give(up, self._loop.time())
            return
        if up is None:
            self.failover.full(x) if reason == FULL else self.attempt_failed(x, Fault("connect"))
            return
        try:
            self._send(x, up)
        except Refusal as refusal:
            self.refuse(x, refusal)

    def _send(self, x: Exchange, up: Upstream) -> None:
        """The intent is queued; the request leaves when it is written."""
        try:
            make_upload(x)
        except Refusal:
            up.abort()
            raise
        x.up = up
        x.state = SENT
        x.touched = up.last = self._loop.time()
        x.attempt_ns = clock.now_ns()
        up.begin(x)
        if x.stream:
            up.turn_bytes = TURN_BYTES
        if crash.ARMED:
            crash.point("worker.before_intent")
        journal = self._house.journal
        if not x.x:
            x.x = journal.intend(settle.intent(x))
            x.money = True
        else:
            if crash.ARMED:
                crash.point("worker.before_again")
            journal.again(settle.again(x))
        journal.after(self._release, up)

    def _release(self, up: Upstream, ok: bool) -> None:
        """The intent stands in the page cache: let the request go, if this is still its connection."""
        x: Exchange | None = up.exchange
        if x is None or x.state is not SENT:
            return
        if not ok:
            x.up = None
            up.abort()
            self.refuse(x, Refusal(SERVICE_UNAVAILABLE, "The journal cannot be written", 5))
            return
        if crash.ARMED:
            crash.point("worker.after_intent" if x.reason == "first" else "worker.after_again")
        if x.upload_body:
            up.transport.writelines((x.upload, x.upload_body))
            x.upload_body = b""
        else:
            up.transport.write(x.upload)
        x.upload = b""
        if x.pump is not None:
            self.answers.pump(x, up)
        if crash.ARMED:
            # the loop hands the bytes to the system at the end of this turn
            self._loop.call_soon(crash.point, "worker.after_send")

    # When an attempt fails

    def attempt_failed(self, x: Exchange, fault: Fault) -> None:
        """Before the commit point: the next channel, or the end."""
        up, x.up = x.up, None
        if up is not None and not up.lost:
            up.abort()
        if x.relay:
            if fault.kind == "stale":
                self.relay.dial(x)
            else:
                self._no_control(x)
            return
        if x.race is not None and self.hedges.failed(x, fault):
            return
        if x.rescue is not None:
            self.rescues.failed(x, fault)
        else:
            self.failover.attempt_failed(x, fault, self._settings)

    def _no_control(self, x: Exchange) -> None:
        """The control process cannot be reached: LLM traffic goes on without it, this does not."""
        if not x.done:
            self.refuse(x, Refusal(SERVICE_UNAVAILABLE, "The control process is not available, try again", 1))

    # Ends

    def refuse(self, x: Exchange, refusal: Refusal) -> None:
        """Answer with an error in the caller's dialect."""
        if x.race is not None and self.hedges.refused(x):
            return
        if x.rescue is not None:
            self.answers.lament(x)
            return
        if x.money and x.x:
            settle.settle(x, "failed", refusal.row.status, self._house.journal, self.desk)
        elif x.money:
            settle.release(x, self.desk)
        self.counters["refused"] += 1
        self._answer(x, *refused(x, refusal))

    def end_sessions(self) -> bool:
        """A drain has lasted long enough: tell WebSockets to go; whether there are any."""
        talking = [x for x in self.live if x.state is TALKING]
        for x in talking:
            x.session.part(Refusal(SERVICE_UNAVAILABLE, "The gateway is going away, connect again"), GOING_AWAY)
        return bool(talking)

    def _answer(self, x: Exchange, status: int, body: bytes, extra: bytes = b"") -> None:
        """A whole answer of our own."""
        x.state = OVER
        self.free(x)
        if x.done:
            return
        x.client.transport.write(own_answer(x, status, body, extra))
        x.client.finished(x)

    def on_gone(self, x: Exchange) -> None:
        """The client left: stop the upstream at once, bill what was used."""
        state, up = x.state, x.up
        if state in (ENDING, OVER):
            return
        if state is TALKING:
            x.session.on_gone()
            return
        if x.race is not None:
            self.hedges.drop(x.race)
        if x.x and state in (DIALLING, SENT, HOLDING, PASSING):
            sent = not x.upload
            x.up = None
            if up is not None:
                up.abort()
            if x.meter is not None and x.held and x.translation is None:
                x.meter.feed(b"".join(x.held))
            if state is not DIALLING:
                settle.attempt_over(x, 0 if state is SENT else x.status, int(sent), clock.now_ns())
            settle.settle(x, "gone", x.status, self._house.journal, self.desk)
        elif up is not None:
            up.abort()
        if state is not LEASING and x.money:
            settle.release(x, self.desk)
        x.state = OVER
        self.free(x)

    def on_drained(self, x: Exchange, paused: bool) -> None:
        """Back-pressure: a client that reads slowly slows the upstream."""
        if x.whole is not None:
            if not paused:
                self.answers.flow(x)
        elif x.up is not None and x.state in (PASSING, TALKING):
            if paused:
                x.up.pause()
            else:
                x.up.resume()

    def free(self, x: Exchange) -> None:
        """Let go of what the exchange held of the worker."""
        self.live.discard(x)
        if self.health.resting:
            self.health.spared(x)
        if x.seat is not None:
            self.limits.leave(x)
        if x.counted is not None:
            self._move(x, None)
        if x.thread is not None and x.first_ns and x.status < 400:
            self.affinity.answered(x, x.thread)
        if x.no_room:
            x.no_room = False
            x.unwait()
            x.client.transport.resume_reading()
        self.arrivals.drop(x)
        if x.written is not None:
            forget(x)
        x.whole = None
        if x.sieve is not None:
            x.sieve.drop()
        if x.rescue is not None:
            x.rescue.drop()
        if x.relay:
            self.relay.over(x)
