"""The wheel with native modules, built, installed and run as it would be: it answers as the plain one does.

mypyc compiles much that Python then refuses at run time, and no other test runs compiled code.  So the fault bench's
rows are played on the installed wheel: answers and streams as they come and translated, failover, streams that break
and go on, a hedge; each judged by what the caller saw and what was billed.  Needs neither index nor network.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.asking import ask, chat
from tests.faults.bench import cases, play
from tests.product import ROOT, Product
from tests.upstream.cases import answer, events
from tests.upstream.running import Upstream
from tools.build_hook import can_compile

pytestmark = pytest.mark.skipif(not can_compile(), reason="no C compiler, or no Python.h (python3-dev)")
PLAYED: Final = ("hedge-not", "garbage", "500", "cut", "cut-body", "prefill", "stall", "hedge", "own-400", "leaves")
DIALECTS: Final = ("chat", "messages")
USAGE: Final = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
CHARGE_NANO: Final = 10 * 1_000 + 5 * 2_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with the installed wheel; on a PYTHONPATH it stands before the checkout."""
    folder: Path = tmp_path_factory.mktemp("wheel")
    for command in (
        ["hatchling", "build", "-t", "wheel", "-d", str(folder)],
        ["pip", "install", "-q", "--no-index", "--no-deps", "--target", str(folder / "site"), "WHEEL"],
    ):
        words = [str(next(folder.glob("*.whl"))) if word == "WHEEL" else word for word in command]
        environment = {**os.environ, "BURNCLOUD_COMPILE": "1", "BURNCLOUD_PURE": ""}
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=250
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return str(folder / "site")


def test_what_is_listed_is_native(site: str, tmp_path: Path) -> None:
    """Every module of the list, and imported from there."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    names = [path.removesuffix(".py").replace("/", ".") for path in table["hooks"]["custom"]["compiled"]]
    look = "import importlib, sys; print(*(importlib.import_module(name).__file__ for name in sys.argv[1:]), sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", look, *names], cwd=tmp_path, env={**os.environ, "PYTHONPATH": site},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    plain = [path for path in done.stdout.split() if not path.startswith(site) or path.endswith(".py")]
    assert not plain


@pytest.fixture(scope="module")
def card(site: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The scorecard of the rows, on the compiled product."""
    return asyncio.run(play(tmp_path_factory.mktemp("faults"), cases(PLAYED, DIALECTS), {"PYTHONPATH": site}))


def test_the_ledger_adds_up(card: dict[str, Any]) -> None:
    """`burncloud ledger verify`, after everything."""
    assert card["ledger"] == "adds up"


@pytest.mark.parametrize("name", PLAYED)
def test_row(card: dict[str, Any], name: str) -> None:
    """As the plain product does in tests/faults."""
    played = [line for line in card["cases"] if line["row"] == name]
    red = [line for line in played if not line["green"]]
    assert played
    assert not red, "\n".join(f"{line['way']}: {complaint}" for line in red for complaint in line["complaints"])


def completion(text: str) -> dict[str, object]:
    """A chat completion."""
    message = {"role": "assistant", "content": text}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return {"id": "x", "object": "chat.completion", "model": "m", "usage": USAGE, "choices": choices}


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is turned over beside the worker there")
def test_what_is_turned_over_beside_the_worker(site: str, tmp_path: Path) -> None:
    """A large request, a large answer, one large event, each in another dialect: Structs go to a process and back."""
    text = "one more word " * 40_000
    pieces: list[dict[str, object]] = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": USAGE},
    ]
    chunks = [{"id": "x", "object": "chat.completion.chunk", "model": "m", **piece} for piece in pieces]
    with (
        Upstream(answer("plain", completion(text)), events("streamed", chunks)) as upstream,
        Product(tmp_path, PYTHONPATH=site) as product,
    ):
        product.add_channel("openai", f"{upstream.url}/v1", ["plain", "streamed"])
        for model in ("plain", "streamed"):
            product.set_price(model, "1.00", "2.00")
        key = product.add_token("--quota", "1.00")
        messages = [{"role": "user", "content": text}]
        for model in ("plain", "streamed"):
            body = {"model": model, "max_tokens": 9, "messages": messages, "stream": model == "streamed"}
            got = ask(product, key, body, "/v1/messages")
            assert (got.status, got.body.count(b"one more word ")) == (200, 40_000), product.log()
        rows = product.wait_rows(lambda rows: len(rows) == 2)
        assert {int(row["charge_nano"]) for row in rows} == {CHARGE_NANO}
        assert "Traceback" not in product.log(), product.log()


@pytest.mark.skipif(sys.platform == "win32", reason="signals and descriptor passing")
def test_a_reload(site: str, tmp_path: Path) -> None:
    """Two workers take the place of two; before and after it is answered, and billed to the nano-dollar."""
    with (
        Upstream(answer("gpt-4", completion("hi"))) as upstream,
        Product(tmp_path, PYTHONPATH=site, WORKERS="2") as product,
    ):
        product.add_channel("openai", f"{upstream.url}/v1", ["gpt-4"])
        product.set_price("gpt-4", "1.00", "2.00")
        key = product.add_token("--quota", "1.00")
        before = set(product.pids("worker"))
        assert ask(product, key, chat("gpt-4")).status == 200
        product.cli("reload")
        assert not before & set(product.pids("worker"))
        statuses = Counter(ask(product, key, chat("gpt-4")).status for _ in range(10))
        assert statuses == {200: 10}, product.log()
        rows = product.wait_rows(lambda rows: len(rows) == 11)
        assert {int(row["charge_nano"]) for row in rows} == {CHARGE_NANO}
        assert "Traceback" not in product.log(), product.log()
        product.cli("ledger", "verify")
