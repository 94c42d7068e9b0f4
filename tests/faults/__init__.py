"""The fault bench: upstreams that fail in every way they can, official SDKs as callers, the whole product between them.

__main__.py    `python -m tests.faults`: runs the bench, prints the scorecard
expect.py      what a row says: a fault, and what must be seen, billed and sent
table.py       the rows: those that issue 4 lists
attacks.py     and those beyond: hostile and careless upstreams, callers that leave
faults.py      what goes wrong: pure scripts of bytes and pauses, one a fault
hostile.py     the same of upstreams that mean harm
voices.py      how each dialect says things right
upstream.py    real sockets that act the scripts and remember what they saw
callers.py     the SDKs, and what they saw
plays.py       who calls when: once, many at once, again and again, and leaves
house.py       the product with a primary and a spare for each case
judge.py       what came of it against what was written down
scorecard.py   the figures as text and JSON
"""
