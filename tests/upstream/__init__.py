"""An upstream of our own on a real socket: replays recordings, breaks as told, and remembers every byte it was sent.

`Upstream` (running.py) runs it in a thread of a test; `python -m tests.upstream --port N --log FILE
--dir CASES` runs it as a process that outlives whatever is killed around it.  What it answers is a
`Case` (cases.py); how a case is chosen, see `Book`.  Standard library only, and none of the product's code.
"""
