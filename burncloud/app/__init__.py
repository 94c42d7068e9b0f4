"""The only place where the planes meet: processes are put together here.

supervisor.py   starts, watches, drains and restarts the others
listening.py    the listening sockets that it opens for all workers
lock.py         one supervisor for one data directory
rundir.py       the private folder of its sockets, and what dead ones left
processes.py    a child process as the supervisor sees it
child.py        the supervisor as a child process sees it
loop.py         the event loop of the children
version.py      which version this is
worker.py       the data plane: listener, gateway, journal, link
translating.py  the worker's side of its translator
translator.py   translates large requests beside the worker
control.py      the control plane: database, ledger, Snapshot, REST
house.py        what the REST API may see of the control process
links.py        control's end of the link to each worker
"""
