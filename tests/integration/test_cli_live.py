"""The command line beside a running server: what it writes is live at once, and it needs no server to write."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.asking import ask, chat
from tests.product import ROOT, CommandFailed, Product
from tests.upstream.cases import answer
from tests.upstream.running import Upstream

LIVE_MS_MAX = 1_000
"""What the issue promises from the end of a command to its effect."""

ANSWER = {
    "id": "x", "object": "chat.completion", "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 100, "completion_tokens": 200, "total_tokens": 300},
}  # fmt: skip


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(answer("gpt-4", ANSWER)) as running:
        yield running


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def product(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    url = "sqlite:burncloud.db"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres").make()
    with Product(tmp_path_factory.mktemp(request.param), WORKERS="2", DATABASE_URL=url) as running:
        yield running


def spawn(product: Product, *words: str) -> subprocess.Popen[bytes]:
    """Start a command and do not wait for it."""
    return subprocess.Popen(
        [sys.executable, "-m", "burncloud", *words],
        cwd=product.folder,
        env=product._env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def soon(product: Product, key: str, wanted: int) -> None:
    """Requests are answered with this status within the promised time, whichever worker is asked."""
    end = time.monotonic() + LIVE_MS_MAX / 1000
    seen: list[int] = []
    while seen[-4:] != [wanted] * 4:
        assert time.monotonic() < end, f"the change is not live: {seen}"
        seen.append(ask(product, key, chat("gpt-4", max_tokens=200)).status)


def test_every_change_is_live(product: Product, upstream: Upstream) -> None:
    user = product.add_user("--quota", "1.00")
    key = product.add_token(user=user)
    token = str(product.cli("token", "list", "--user", user)[0]["id"])

    soon(product, key, 404)  # nobody serves it
    channel = product.add_channel("openai", f"{upstream.url}/v1", ["gpt-4"])["name"]
    product.set_price("gpt-4", "30.0", "60.0")
    soon(product, key, 200)
    for words, undo, status in (
        (["channel", "disable", channel], ["channel", "enable", channel], 503),
        (["user", "disable", user], ["user", "enable", user], 403),
        (["token", "update", token, "--models", "other"], ["token", "update", token, "--models", "all"], 403),
        (["token", "update", token, "--disable"], ["token", "update", token, "--enable"], 401),
        (["user", "update", user, "--quota", "0"], ["user", "topup", user, "1.00"], 402),
    ):
        product.cli(*words)
        soon(product, key, status)
        product.cli(*undo)
        soon(product, key, 200)
    product.cli("token", "delete", token)
    soon(product, key, 401)
    product.cli("channel", "delete", channel)


def test_commands_under_way_never_disturb_each_other_or_the_ledger(product: Product, upstream: Upstream) -> None:
    product.add_channel("openai", f"{upstream.url}/v1", ["gpt-4"])
    product.set_price("gpt-4", "30.0", "60.0")
    user = product.add_user("--quota", "1000.00")
    key = product.add_token(user=user)
    commands = [["token", "create", "--user", user], ["user", "topup", user, "1"], ["ledger", "verify"]]
    running = [spawn(product, *words) for words in commands * 2]
    count = 0
    while any(process.poll() is None for process in running):
        assert ask(product, key, chat("gpt-4")).status == 200
        count += 1
    for process in running:
        _, said = process.communicate()
        assert process.returncode == 0, said.decode()
    assert product.cli("user", "show", user)["quota_limit"] == "1002.00"
    usage: dict[str, Any] = {"requests": 0}
    for _ in range(20):  # booking follows the last answer
        if usage["requests"] != count:
            (usage,) = product.cli("log", "usage", "--user", user)
    assert (usage["requests"], usage["charge_nano"]) == (count, str(count * 15_000_000))
    assert product.cli("ledger", "verify")["ok"] is True
    assert len(product.cli("token", "list", "--user", user)) == 3


def test_the_status_is_for_administrators(product: Product) -> None:
    def status(key: str) -> tuple[int, Any]:
        request = urllib.request.Request(f"{product.url}/api/v1/status", headers={"authorization": f"Bearer {key}"})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    assert status(product.add_token())[0] == 403
    assert status("sk-nobody")[0] == 401
    code, body = status(product.add_token(user="admin"))
    assert code == 200
    assert [worker["index"] for worker in body["workers"]] == [0, 1]
    assert all(worker["ready"] for worker in body["workers"])
    assert body["alarms"] == {}


def test_it_works_with_the_server_down(tmp_path: Path, upstream: Upstream) -> None:
    product = Product(tmp_path)
    tmp_path.mkdir(exist_ok=True)
    product.add_channel("openai", f"{upstream.url}/v1", ["gpt-4"])
    product.set_price("gpt-4", "30.0", "60.0")
    key = product.add_token(user="admin")
    with pytest.raises(CommandFailed, match="no user"):
        product.add_token(user="nobody")
    with product:
        assert "password" not in product.log()  # the first command made the administrator
        assert ask(product, key, chat("gpt-4")).status == 200
    product.stop()
    (row,) = product.rows()
    assert row["charge"] == "0.015"
    assert product.cli("ledger", "verify")["open_journals"] == []


def test_a_server_and_commands_that_meet_on_a_new_database(tmp_path: Path) -> None:
    """All make the schema, the key and the administrator at once: each exists once, one password is shown."""
    product = Product(tmp_path)
    product.start(wait=False)
    others = [spawn(product, "user", "list") for _ in range(3)]
    spoken = [process.communicate(timeout=60)[1].decode() for process in others]
    assert [process.returncode for process in others] == [0, 0, 0]
    product.wait_ready()
    shown = [text for text in (product.log(), *spoken) if "with the password" in text]
    assert len(shown) == 1
    assert [user["name"] for user in product.cli("user", "list")] == ["admin"]
    assert product.stop() == 0


def test_a_start_on_a_wrong_master_key_says_so_and_serves_the_rest(tmp_path: Path, upstream: Upstream) -> None:
    product = Product(tmp_path, LOG_LEVEL="error")
    tmp_path.mkdir(exist_ok=True)
    product.add_channel("openai", f"{upstream.url}/v1", ["gpt-4"])
    product.set_price("gpt-4", "1", "1")
    key = product.add_token(user="admin")
    (tmp_path / "burncloud.data" / "master.key").unlink()
    with product:
        assert "is missing" in product.log()
        assert ask(product, key, chat("gpt-4")).status in (404, 503)
    assert not (tmp_path / "burncloud.data" / "master.key").exists()


def test_the_command_line_loads_no_server_and_the_supervisor_no_command_line() -> None:
    code = "import sys; import {}; print(*sorted(sys.modules))"
    loaded = {}
    for module in ("burncloud.cli.main", "burncloud.__main__, burncloud.app.supervisor"):
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", code.format(module)], env=environment, capture_output=True, text=True, check=True
        )
        loaded[module] = set(done.stdout.split())
    cli, supervisor = loaded.values()
    assert not cli & {"fastapi", "uvicorn", "uvloop", "alembic"}
    assert not supervisor & {"asyncio", "typer", "rich", "sqlalchemy", "msgspec"}


def test_a_broken_pipe_is_no_traceback(product: Product) -> None:
    process = spawn(product, "setting", "list")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    assert process.wait() in (0, 1, -signal.SIGPIPE)
