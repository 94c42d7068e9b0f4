"""Sockets, no LLM: HTTP/1.1 on both sides, the journal file and the link.

listener.py     accepts connections from descriptors that the supervisor passes
downstream.py   one client connection: parse, pipeline, answer
heads.py        header tables: what is kept, what is ours, what is refused
body.py         a request body: in memory or spooled, within a budget
upstream.py     one connection to an upstream: send a request, read its answer
pool.py         idle upstream connections by origin, and dialling new ones
proxy.py        through a proxy to an upstream: CONNECT, SOCKS5
resolver.py     names to addresses, refreshed on the side
tls.py          one TLS context for each distinct setting
windows.py      sliding windows of limits, shared by all workers
permits.py      the same where several nodes share them
redis.py        a connection to Redis or Valkey
mutex.py        a lock between processes that outlives its holder
journal.py      the append-only file that money leaves a worker by
files.py        reading and writing at a place in a file
link.py         framed messages between workers and the control process
"""
