"""BurnCloud: one key, one base URL, an exact bill.

Two planes with a wall between them.  The data plane (router) passes tokens through; the control plane
(service, server) keeps the books.  Imports run down only, and tests/test_tidy.py says so:

    cli                           commands for people
    app                           the processes, and the only place where the planes meet
    server                        REST for people and machines
    router | service              data plane | business rules
    wire · adaptors · database    sockets, no LLM · dialects, no sockets · SQL, no rules
    domain                        money, records, pricing, Snapshot: pure

and at the bottom the ground that every floor stands on:

    errors.py   every error a client can meet
    clock.py    what time it is
    config.py   settings, and what a process is started with
    logs.py     one line an event
    crash.py    named points of sudden death, for the tests of the books
"""
