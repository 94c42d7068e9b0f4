"""The data plane: a smart pipe from a client's request to a channel and back.

ports.py      what this plane asks of the house around it
routes.py     the closed table of data-plane paths
world.py      the Snapshot as a worker holds it: tokens, users, prices, channels, routes
outlets.py    a channel made ready to send to: keys, paths, abilities
reach.py      what differs on the way to a channel: places, options, signatures
choose.py     which channel of a route is next: exact shares, tiers
pairs.py      the same by who is less busy, or quicker
affinity.py   a conversation stays where it was
breaker.py    whether a part of a channel may be asked now
health.py     whose fault a failure is, and what follows
desk.py       leases: what may be spent right now
limits.py     requests, tokens and concurrency: at the door, at the choice, in line
permits.py    the same over several nodes: fetched from a server before they are needed
permit_script.py  what that server does
exchange.py   the record of one request on its way
arrival.py    the body on its way in: room, limits, large ones
failover.py   when an attempt fails: who is next, and when it is enough
fallbacks.py  another model answers instead
gateway.py    the life of a request, top to bottom
upload.py     the request as it goes up to a channel
translate.py  the same for a channel of another dialect
answer.py     the answer on its way back: hold, commit, pass, end
settle.py     from an exchange to its receipt
relay.py      everything that is not LLM traffic, to the control process
listing.py    GET /v1/models
sweep.py      deadlines, looked at four times a second
"""
