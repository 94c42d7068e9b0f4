"""The only place where the planes meet: processes are put together here.

    supervisor.py   starts, watches and drains the others
    worker.py       the data plane: listener, gateway, journal, link
    control.py      the control plane: database, ledger, Snapshot, REST
"""
