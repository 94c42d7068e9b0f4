"""The test upstream as a process: `python -m tests.upstream --port N --log FILE --dir CASES`.

Prints "ready PORT" (and "tls PORT") once it listens.  Every request is appended to FILE before it is
answered.  Case files that appear later are found when SIGHUP comes.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import ssl
from pathlib import Path

from tests.upstream.cases import Book, load
from tests.upstream.server import Server


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    book = Book()

    def read() -> None:
        for folder in options.dir:
            book.add(*load(folder))

    read()
    server = Server(book, options.log)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, read)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    print(f"ready {await server.listen(options.port)}", flush=True)
    if options.cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.cert)
        print(f"tls {await server.listen(options.tls_port, context)}", flush=True)
    await stop.wait()
    await server.close()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.upstream", description="A test upstream that replays cases.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, help="file that every request is appended to")
    parser.add_argument("--dir", type=Path, action="append", default=[], help="folder of case files; may be repeated")
    parser.add_argument("--cert", type=Path, help="certificate and key (PEM): listen with TLS, too")
    parser.add_argument("--tls-port", type=int, default=0)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
