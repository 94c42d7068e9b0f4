"""The two ends around a gateway under test: a canned upstream (plain and TLS) and the load.

Both are bench/native/peer.c, compiled once into .cache/bench.  TLS before the upstream is an
nginx that ends TLS: its cost is on the peers' core and in no figure.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import trustme

from bench.measure import pin, wait_port
from tests.ports import free_port

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "bench" / "native" / "peer.c"
T = TypeVar("T")


class Missing(Exception):
    """A tool that the bench needs is not installed; the text says which and how to get it."""


def tool(name: str, package: str) -> str:
    """The path of an installed program; raises Missing."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if path is None:
        raise Missing(f"the bench needs {name} (Debian: apt-get install {package})")
    return path


def build_peer() -> Path:
    """Compile bench/native/peer.c unless this very text was compiled before."""
    text = SOURCE.read_bytes()
    binary = ROOT / ".cache" / "bench" / f"peer-{hashlib.sha256(text).hexdigest()[:12]}"
    if not binary.exists():
        binary.parent.mkdir(parents=True, exist_ok=True)
        part = binary.with_suffix(f".{os.getpid()}")
        subprocess.run([tool("cc", "gcc libc6-dev"), "-O2", "-o", part, SOURCE], check=True)
        part.rename(binary)
    return binary


def start(arguments: list[str | Path], core: int, **options: Any) -> subprocess.Popen[bytes]:
    """Start a process that lives on one core from its first instruction."""
    taskset = ["taskset", "-c", str(core)]
    process: subprocess.Popen[bytes] = subprocess.Popen([*taskset, *arguments], **options)
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to stop, and see that it did."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def start_nginx(folder: Path, config: str, core: int) -> subprocess.Popen[bytes]:
    """Run an nginx of our own with this configuration, all its files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    conf = folder / "nginx.conf"
    temps = "".join(
        f"  {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    account = "user root;\n" if os.getuid() == 0 else ""
    conf.write_text(
        f"{account}daemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log warn;\n"
        f"worker_rlimit_nofile 65536;\nevents {{ worker_connections 32768; }}\nhttp {{\n{temps}{config}}}\n"
    )
    nginx = tool("nginx", "nginx-light")
    return start([nginx, "-p", folder, "-e", folder / "error.log", "-c", conf], core)


class Upstream:
    """The canned upstream on two ports: `port` plain, `tls_port` TLS with a certificate of `ca_file`.

    Each stream gets an event of `event_bytes` every `tick_us`, all streams dealt over `phases` instants of it.
    """

    def __init__(self, folder: Path, core: int, tick_us: int = 4000, phases: int = 16, event_bytes: int = 110) -> None:
        self.core = core
        self.port, self.tls_port = free_port(), free_port()
        self.ca_file = folder / "ca.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca_file))
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "upstream.pem"))
        self._peer = start([build_peer(), "serve", str(self.port), str(tick_us), str(phases), str(event_bytes)], core)
        wait_port(self.port)
        self._tls = start_nginx(folder / "tls", self._tls_config(folder / "upstream.pem"), core)
        wait_port(self.tls_port)

    def _tls_config(self, certificate: Path) -> str:
        return f"""
  access_log off;
  upstream peer {{ server 127.0.0.1:{self.port}; keepalive 16384; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{self.tls_port} ssl backlog=4096;
    ssl_certificate {certificate}; ssl_certificate_key {certificate};
    ssl_buffer_size 4k; keepalive_requests 1000000000; keepalive_timeout 1h; client_body_buffer_size 256k;
    location / {{
      proxy_pass http://peer; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_read_timeout 1h;
    }}
  }}
"""

    def port_for(self, tls: bool) -> int:
        """The port of the plain or the TLS side."""
        return self.tls_port if tls else self.port

    def move(self, core: int) -> None:
        """Put both sides on another core."""
        from_master = [self._tls.pid, *_children(self._tls.pid)]
        for pid in (self._peer.pid, *from_master):
            pin(pid, core)

    def stop(self) -> None:
        """End both sides."""
        end(self._tls)
        end(self._peer)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Load:
    """One closed-loop run against a port: `connections` at a time, each sending `request` again and again."""

    def __init__(self, port: int, request: bytes, connections: int, warm_ms: int, run_ms: int, core: int) -> None:
        numbers = [str(n) for n in (port, connections, warm_ms, run_ms)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = start([build_peer(), "load", *numbers], core, **pipes)
        assert self._process.stdin is not None
        with self._process.stdin as pipe:
            pipe.write(request)

    def wait(self, word: str) -> None:
        """Read the program's lines up to `word`; RuntimeError if it ends before."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.decode().strip() == word:
                return
        raise RuntimeError(f"the load ended (status {self._process.wait()}) before it was {word}")

    def result(self) -> dict[str, int]:
        """The figures after the run; see peer.c for their names."""
        assert self._process.stdout is not None
        last = self._process.stdout.read().decode().strip().splitlines()
        if self._process.wait() or not last:
            raise RuntimeError(f"the load failed with status {self._process.returncode}")
        numbers: dict[str, int] = json.loads(last[-1])
        return numbers

    def stop(self) -> None:
        """End an open-ended run."""
        if self._process.poll() is None:
            end(self._process)


def run_load(
    port: int, request: bytes, connections: int, warm_ms: int, run_ms: int, core: int, probe: Callable[[], T]
) -> tuple[dict[str, int], T, T]:
    """A measured run: (figures, probe's value after the warm-up, probe's value at the end)."""
    load = Load(port, request, connections, warm_ms, run_ms, core)
    try:
        load.wait("warm")
        before = probe()
        figures = load.result()
        return figures, before, probe()
    finally:
        load.stop()
