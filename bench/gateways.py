"""The gateways that are measured side by side: nginx, BurnCloud, a bare prototype, and none at all.

Each is started on one core with the same upstream behind it and offers the same face: which port
and model lead to the plain or the TLS upstream, and which processes play which role.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Protocol

from bench.fill import crowd, fill
from bench.measure import descendants, wait_port
from bench.peers import Upstream, end, start, start_nginx
from tests.ports import free_port
from tests.product import Product

PLAIN_MODEL, TLS_MODEL = "bench-plain", "bench-tls"


class Gateway(Protocol):
    """One of the things measured."""

    name: str
    token: str
    """The key that the load sends."""

    def roles(self) -> dict[str, list[int]]:
        """Role → its process ids; "worker" is what handles requests, "control" keeps the books."""

    def port(self, tls: bool, stream: bool) -> int:
        """Where the load connects to reach the plain or TLS upstream, for a plain answer or a stream."""

    def model(self, tls: bool) -> str:
        """The model name in the request."""

    def serves(self, tls: bool) -> bool:
        """Whether it can be measured before a plain or TLS upstream."""

    def log(self) -> str:
        """What it complained about so far."""

    def stop(self) -> None:
        """End it."""


class Direct:
    """No gateway: the load talks to the upstream itself."""

    def __init__(self, upstream: Upstream) -> None:
        self.name, self.token = "direct", "none"
        self._upstream = upstream

    def roles(self) -> dict[str, list[int]]:
        """Nothing stands between."""
        return {}

    def port(self, tls: bool, stream: bool) -> int:
        """The upstream's plain port (the load speaks no TLS)."""
        return self._upstream.port

    def model(self, tls: bool) -> str:
        """Any."""
        return PLAIN_MODEL

    def serves(self, tls: bool) -> bool:
        """The load itself speaks no TLS."""
        return not tls

    def log(self) -> str:
        """Nothing."""
        return ""

    def stop(self) -> None:
        """Nothing to end."""


class Nginx:
    """nginx 1.x as a plain reverse proxy at its best: one worker, keep-alive both ways, buffered access log.

    Request bodies fit in memory (with the default of 16 KB it would write the 100 KB body to a file),
    answers are buffered for plain requests (its default, and faster) and not for streams (else events wait).
    """

    def __init__(self, folder: Path, upstream: Upstream, core: int) -> None:
        self.name, self.token = "nginx", "none"
        self._ports = {(tls, stream): free_port() for tls in (False, True) for stream in (False, True)}
        servers = "".join(self._server(upstream, folder, *key) for key in self._ports)
        config = f"""
  access_log {folder}/nginx/access.log combined buffer=64k flush=1s;
  sendfile on; tcp_nodelay on;
  keepalive_requests 1000000000; keepalive_timeout 1h;
  client_body_buffer_size 256k; client_max_body_size 64m;
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_read_timeout 1h;
  upstream plain {{ server 127.0.0.1:{upstream.port}; keepalive 16384; keepalive_requests 1000000000; }}
  upstream tls {{ server 127.0.0.1:{upstream.tls_port}; keepalive 16384; keepalive_requests 1000000000; }}
{servers}"""
        self._errors = folder / "nginx" / "error.log"
        self._process = start_nginx(folder / "nginx", config, core)
        for port in self._ports.values():
            wait_port(port)

    def _server(self, upstream: Upstream, folder: Path, tls: bool, stream: bool) -> str:
        to = (
            f"proxy_pass https://tls; proxy_ssl_name localhost; proxy_ssl_server_name on; proxy_ssl_verify on; "
            f"proxy_ssl_trusted_certificate {upstream.ca_file};"
            if tls
            else "proxy_pass http://plain;"
        )
        return (
            f"  server {{ listen 127.0.0.1:{self._ports[tls, stream]} backlog=4096; "
            f"location / {{ proxy_buffering {'off' if stream else 'on'}; {to} }} }}\n"
        )

    def roles(self) -> dict[str, list[int]]:
        """One worker; the master sleeps."""
        return {"worker": descendants(self._process.pid)}

    def port(self, tls: bool, stream: bool) -> int:
        """A server block of its own for each case."""
        return self._ports[tls, stream]

    def model(self, tls: bool) -> str:
        """Any: the port decides."""
        return PLAIN_MODEL

    def serves(self, tls: bool) -> bool:
        """Both."""
        return True

    def log(self) -> str:
        """Its error log."""
        return self._errors.read_text()

    def stop(self) -> None:
        """End master and worker."""
        end(self._process)


class BurnCloud:
    """The product as a user runs it, everything on: a token with a quota, prices, journal, booking.

    Supervisor, control process and workers all live on the gateway's core.  `tokens` and `channels` are added
    to those in use; `per_model` channels in all have each model that is asked for.
    """

    def __init__(
        self,
        folder: Path,
        upstream: Upstream,
        core: int,
        *,
        name: str = "burncloud",
        python: str = "",
        workers: int = 1,
        tokens: int = 0,
        channels: int = 0,
        per_model: int = 1,
        **settings: str,
    ) -> None:
        self.name = name
        # another python brings its own burncloud: the sources must not stand before it on the path
        installed = {"PYTHONPATH": ""} if python else {}
        self.product = Product(
            folder / name,
            python=python or sys.executable,
            core=core,
            WORKERS=str(workers),
            UPSTREAM_CA_FILE=str(upstream.ca_file),
            **installed,
            **settings,
        )
        try:
            self.product.start()
            self.token = configure(self.product, upstream)
            if tokens or channels or per_model > 1:
                self.product.stop()
                fill(self.product.folder, tokens, channels)
                crowd(self.product.folder, places(upstream), per_model - 1)
                self.product.start()
        except BaseException:
            self.product.kill()
            raise

    def roles(self) -> dict[str, list[int]]:
        """As the product names them."""
        return {role: self.product.pids(role) for role in ("worker", "control", "supervisor")}

    def port(self, tls: bool, stream: bool) -> int:
        """One port for all."""
        return self.product.port

    def model(self, tls: bool) -> str:
        """The model's channel decides which upstream is asked."""
        return TLS_MODEL if tls else PLAIN_MODEL

    def serves(self, tls: bool) -> bool:
        """Both."""
        return True

    def log(self) -> str:
        """Its standard output and error."""
        return self.product.log()

    def stop(self) -> None:
        """SIGTERM; it drains."""
        self.product.stop()


def places(upstream: Upstream) -> list[tuple[str, str]]:
    """Each model, and where it is."""
    return [
        (PLAIN_MODEL, f"http://127.0.0.1:{upstream.port}/v1"),
        (TLS_MODEL, f"https://localhost:{upstream.tls_port}/v1"),
    ]


def configure(product: Product, upstream: Upstream) -> str:
    """Give a running product a channel to each side of the upstream, prices, and a token with a quota; its key."""
    for model, url in places(upstream):
        product.add_channel("openai", url, [model])
        product.set_price(model, "0.30", "0.60")
    return product.add_token("--quota", "1000000.00")


class Prototype:
    """A bare passthrough (a folder with a run.py that takes PORT and UP), plain upstream only: a yardstick."""

    def __init__(self, folder: Path, upstream: Upstream, core: int, source: Path) -> None:
        self.name, self.token = "prototype", "sk-test"
        shutil.copytree(source, folder / "prototype")
        self._port = free_port()
        environment = os.environ | {"PORT": str(self._port), "UP": str(upstream.port)}
        self._log = folder / "prototype.log"
        with self._log.open("wb") as log:
            self._process = start(
                [sys.executable, "run.py"], core, cwd=folder / "prototype", env=environment, stderr=log
            )
        wait_port(self._port)

    def roles(self) -> dict[str, list[int]]:
        """One process."""
        return {"worker": [self._process.pid]}

    def port(self, tls: bool, stream: bool) -> int:
        """One port for all."""
        return self._port

    def model(self, tls: bool) -> str:
        """The one it knows."""
        return "gpt-4"

    def serves(self, tls: bool) -> bool:
        """Plain only."""
        return not tls

    def log(self) -> str:
        """Its standard error."""
        return self._log.read_text()

    def stop(self) -> None:
        """End it."""
        end(self._process)
