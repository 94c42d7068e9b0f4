"""What the server does: one Lua script that gives out permits, so that no window of any node together is too full.

For each account it keeps what was used, by quarters of a second, and what each node holds.  What a node used counts
from when it says so, which is later than it was, so nothing leaves the window too early; what it holds counts as long
as it may still use it.  A node that says nothing for GONE ms may use nothing any more; what it held is then taken for
used.  Node and account need not be told apart from anything else: `account` is an entry of this node's slot.

Asked: msgpack of [node, live nodes, [account …]], each account being [limit of requests, of tokens, of places (−1 =
none), birth, joins, requests given, used, back, tokens given, used, back, places given, back, taken, requests needed,
wanted, tokens needed, wanted, fewest, places needed, wanted, [[age, tokens] … given back], [[age, requests, tokens] …
of a node that joins]].
Answered: msgpack of [[status, requests given, tokens given, places given, room for requests, for tokens, when there is
more of what was needed: requests, tokens (ms), 1 = joined just now] …]; status 0 = so it is, 1 = wait, others come
first, −1 = join anew.
KEYS: the nodes, then one for each account.
"""

from __future__ import annotations

from typing import Final

from burncloud.wire.redis import Script

GIVEN, WAIT, JOIN = 0, 1, -1

SCRIPT: Final = Script("""
local CELL, CELLS, GONE, SETTLED, HUDDLE = 250, 241, 2000, 61000, 2000
local asked = cmsgpack.unpack(ARGV[1])
local node, live = asked[1], asked[2]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local cell = math.floor(now / CELL)

-- who is there; since when this server knows
local born = tonumber(redis.call('HGET', KEYS[1], ':born'))
if not born or born > now then
  born = now
  redis.call('HSET', KEYS[1], ':born', born)
end
redis.call('HSET', KEYS[1], node, now)
redis.call('PEXPIRE', KEYS[1], 2 * SETTLED)
local present = 0
local seen = redis.call('HGETALL', KEYS[1])
for i = 1, #seen, 2 do
  if seen[i] ~= ':born' then
    local age = now - tonumber(seen[i + 1])
    if age < GONE then present = present + 1
    elseif age > SETTLED then redis.call('HDEL', KEYS[1], seen[i]) end
  end
end
live = math.max(live, present)
local missing = live - present

local function add(cells, at, amount)
  cells[at] = (cells[at] or 0) + amount
end

-- forget what has left the window; the sum of the rest
local function sum(cells)
  local total, early = 0, 0
  for at, amount in pairs(cells) do
    if cell - at >= CELLS then cells[at] = nil
    else
      total = total + amount
      if at > cell then cells[at] = nil; early = early + amount end
    end
  end
  if early > 0 then add(cells, cell, early) end  -- the clock went back
  return total
end

local function held(e, kind)
  return math.max(0, e[kind .. 'g'] - e[kind .. 'u'] - e[kind .. 'b'] - e[kind .. 'x'])
end

-- a node's word: what it has used and given back since the last one
local function hear(e, kind, cells, used, back)
  local more = used - e[kind .. 'u']
  if more > 0 then
    if more > e[kind .. 'x'] then add(cells, cell, more - e[kind .. 'x']) end
    e[kind .. 'u'] = used
  end
  e[kind .. 'b'] = math.max(e[kind .. 'b'], back)
  e[kind .. 'x'] = 0
  e[kind .. 'g'] = math.max(e[kind .. 'g'], e[kind .. 'u'] + e[kind .. 'b'])
end

local function give(e, kind, room, need, want, fewest)
  if need > want then want = need end
  local amount = math.min(want, math.max(need, math.floor(room / (2 * present))), math.floor(room))
  if amount < 1 or amount < fewest then return end
  e[kind .. 'g'] = e[kind .. 'g'] + amount
end

-- when so much will have left
local function later(cells, amount)
  local ages = {}
  for at in pairs(cells) do ages[#ages + 1] = at end
  table.sort(ages)
  for _, at in ipairs(ages) do
    amount = amount - cells[at]
    if amount <= 0 then return (at + CELLS) * CELL - now end
  end
  return 1000
end

local function account(key, a)
  local text = redis.call('GET', key)
  local s
  if text then s = cmsgpack.unpack(text)
  else
    s = {n = {}, r = {}, t = {}, w = 0}
    if live > 1 and now - born < SETTLED then s.w = now + HUDDLE end
  end
  local id = a[4]
  local e = s.n[id]
  local anew = not e
  if anew then
    if a[5] == 0 then return {-1, 0, 0, 0, 0, 0, 0, 0, 0} end
    e = {rg = a[6], ru = a[7], rb = a[8], rx = 0, tg = a[9], tu = a[10], tb = a[11], tx = 0,
         fg = a[12], fu = 0, fb = a[13], fx = 0}
    s.n[id] = e
    for _, was in ipairs(a[23]) do
      local at = cell - math.max(0, was[1] - 1)
      if was[2] > 0 then add(s.r, at, was[2]) end
      if was[3] > 0 then add(s.t, at, was[3]) end
    end
  end
  hear(e, 'r', s.r, a[7], a[8])
  hear(e, 't', s.t, a[10], a[11])
  e.fb, e.fx = math.max(e.fb, a[13]), 0
  e.fg = math.max(e.fg, e.fb + a[14])
  e.s = now
  for _, back in ipairs(anew and {} or a[22]) do  -- a window that is shown anew holds them
    local at, amount = cell - back[1] - 1, back[2]
    while amount > 0 and at <= cell do
      local less = math.min(amount, s.t[at] or 0)
      if less > 0 then
        s.t[at] = s.t[at] - less
        amount = amount - less
      end
      at = at + 1
    end
  end
  local heldr, heldt, heldf = 0, 0, 0
  for other, o in pairs(s.n) do
    if now - o.s > SETTLED then s.n[other] = nil
    else
      if now - o.s > GONE then  -- it may have used what it held
        local r, t = held(o, 'r'), held(o, 't')
        if r > 0 then add(s.r, cell, r) end
        if t > 0 then add(s.t, cell, t) end
        o.rx, o.tx, o.fx = o.rx + r, o.tx + t, o.fx + held(o, 'f')
      end
      heldr, heldt, heldf = heldr + held(o, 'r'), heldt + held(o, 't'), heldf + held(o, 'f')
    end
  end
  local usedr, usedt = sum(s.r), sum(s.t)
  local function room(limit, taken)
    if limit < 0 then return 0 end
    if missing > 0 then limit = limit - math.ceil(limit * missing / live) end
    return math.max(0, limit - taken)
  end
  local roomr, roomt, roomf = room(a[1], usedr + heldr), room(a[2], usedt + heldt), room(a[3], heldf)
  local status, laterr, latert = 0, 0, 0
  if now < s.w then status = 1
  else
    local r, t, f = e.rg, e.tg, e.fg
    if roomr < a[15] then laterr = later(s.r, a[15] - roomr) end
    if roomt < a[19] then latert = later(s.t, a[19] - roomt) end
    give(e, 'r', roomr, a[15], a[16], 0)
    give(e, 't', roomt, a[17], a[18], a[19])
    give(e, 'f', roomf, a[20], a[21], 0)
    roomr, roomt = roomr - (e.rg - r), roomt - (e.tg - t)
  end
  redis.call('SET', key, cmsgpack.pack(s), 'PX', SETTLED + 4000)
  return {status, e.rg, e.tg, e.fg, roomr, roomt, laterr, latert, anew and 1 or 0}
end

local answers = {}
for i, a in ipairs(asked[3]) do answers[i] = account(KEYS[i + 1], a) end
return cmsgpack.pack(answers)
""")
