#!/usr/bin/env python3
"""The one command: installs what is needed, once, and runs it.  Needs Python 3.11 and nothing else.

    python3 run.py                    serve (as `burncloud` does)
    python3 run.py test [suite|…]     all tests, or one suite (unit, e2e, …), or what pytest is told
    python3 run.py check              ruff and mypy
    python3 run.py format             let ruff tidy the sources
    python3 run.py e2e | bench        end-to-end tests · the bench
    python3 run.py docs | lock        renew the pages made from tables · renew requirements.lock
    python3 run.py build [--compiled] a wheel, with native modules where a compiler stands ready
    python3 run.py install            only install
    python3 run.py token create …     any command of `burncloud`

Everything goes into .venv beside this file, from requirements.lock: hash-pinned, and the test tools only when
they are asked for.  A stamp there says what was installed, so that a second start costs nothing.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(ROOT, ".venv")
LOCK = os.path.join(ROOT, "requirements.lock")
WINDOWS = os.name == "nt"
PYTHON = os.path.join(VENV, "Scripts", "python.exe") if WINDOWS else os.path.join(VENV, "bin", "python")
PYTHON_OLDEST = (3, 11)
SIDE_BY_SIDE = ("-n", str(min(os.cpu_count() or 1, 5) + 1), "--dist", "loadfile")
"""How the quick suite is run: a file's tests in one process, and one process more than cores, for some only wait."""
TEST_MARK = "# == test =="
TRIES = 3
TRY_TIMEOUT_S = 900
"""A download that hangs is cut off after this; what has arrived stays in pip's cache for the next try."""


def fail(sentence: str) -> None:
    """End with a sentence for the person at the terminal."""
    sys.exit("run.py: " + sentence)


def say(sentence: str) -> None:
    """Progress goes to stderr, so that stdout is the command's own."""
    print("run.py: " + sentence, file=sys.stderr, flush=True)


# -- install ---------------------------------------------------------------------------------------------------


def check_version(version: tuple[int, ...] = sys.version_info[:2]) -> None:
    """Refuse a Python that is too old."""
    if version < PYTHON_OLDEST:
        fail(f"Python {version[0]}.{version[1]} is too old; call this with Python 3.11 or newer (python3.11 run.py).")


def check_parts() -> None:
    """Refuse a Python that lacks its own parts, as Debian's does at first, and say how to get them."""
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        fail(
            f"this Python lacks its module {missing[0]}. On Debian and Ubuntu: apt install python3-venv"
            " (elsewhere: install Python from python.org)."
        )


def lock_parts() -> tuple[str, str]:
    """requirements.lock's two parts: what serving needs, and what tests need on top."""
    with open(LOCK, encoding="utf-8") as file:
        text = file.read()
    mark = text.index(TEST_MARK)
    return text[:mark], text[mark:]


def stamp_of(part: str) -> str:
    """Changes whenever an install would give something else: other packages, another Python, a moved folder."""
    with open(os.path.join(ROOT, "pyproject.toml"), encoding="utf-8") as file:
        project = file.read()
    return hashlib.sha256("\0".join((ROOT, os.path.realpath(PYTHON), project, part)).encode()).hexdigest()


def is_stamped(name: str, stamp: str) -> bool:
    """Whether that part is installed as it should be."""
    try:
        with open(os.path.join(VENV, f"installed-{name}"), encoding="ascii") as file:
            return file.read() == stamp
    except OSError:
        return False


def venv_works() -> bool:
    """Whether .venv holds a Python that starts, is new enough and has pip."""
    probe = f"import sys, pip; sys.exit(sys.version_info < {PYTHON_OLDEST})"
    try:
        return subprocess.run([PYTHON, "-c", probe], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def make_venv() -> None:
    """A fresh .venv in the place of whatever is there."""
    import venv

    say("making .venv")
    try:
        venv.EnvBuilder(with_pip=True, clear=True, symlinks=not WINDOWS).create(VENV)
    except subprocess.CalledProcessError:
        fail("pip cannot be put into .venv. On Debian and Ubuntu: apt install python3-venv, then try again.")
    except OSError as error:
        fail(f"cannot write {VENV}: {error.strerror or error}.")


def show(progress: str) -> None:
    """One line that is written over and over, on a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K" + progress)
        sys.stderr.flush()


def pip_once(arguments: tuple[str, ...], count: int) -> list[str] | None:
    """pip in .venv, its progress in one line; None when all went well, else the last lines of what it said."""
    command = [PYTHON, "-m", "pip", "--disable-pip-version-check", "install", *arguments]
    pip = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    watchdog = threading.Timer(TRY_TIMEOUT_S, pip.kill)
    watchdog.start()
    said, seen = [], 0
    with pip, pip.stdout or sys.stdin as output:
        for line in output:
            said.append(line.rstrip())
            if line.startswith("Collecting"):
                seen += 1
                show(f"[{seen}/{count}] {line.split()[1]}")
            elif line.startswith("Installing"):
                show("unpacking")
    show("")
    timed_out = not watchdog.is_alive()
    watchdog.cancel()
    if pip.returncode == 0:
        return None
    return [*said[-15:], *([f"(ended after {TRY_TIMEOUT_S} s)"] if timed_out else [])]


def run_pip(*arguments: str, count: int = 1) -> None:
    """pip in .venv; a failed or hanging download is tried again."""
    for attempt in range(1, TRIES + 1):
        complaint = pip_once(arguments, count)
        if complaint is None:
            return
        say("\n".join(["pip failed:", *complaint]))
        if attempt < TRIES:
            say(f"again ({attempt + 1} of {TRIES})")
    fail("the packages cannot be installed (pip says why above). Is the network, or the package index, reachable?")


def install_part(name: str, part: str) -> bool:
    """Install one part of the lock unless its stamp says that it is there; True if something was done."""
    stamp = stamp_of(part)
    if is_stamped(name, stamp):
        return False
    count = sum(line[:1].isalnum() for line in part.splitlines())
    say(f"installing what it takes to {name}: {count} packages, once")
    chosen = os.path.join(VENV, f"{name}.lock")
    with open(chosen, "w", encoding="utf-8") as file:
        file.write(part)
    run_pip("--require-hashes", "-r", chosen, count=count)
    if name == "serve":
        run_pip("--no-deps", "--no-build-isolation", "-e", ".")
    with open(os.path.join(VENV, f"installed-{name}"), "w", encoding="ascii") as file:
        file.write(stamp)
    return True


def install(tests: bool) -> None:
    """Bring .venv up to date; does next to nothing when it is."""
    serve_part, test_part = lock_parts()
    wanted = [("serve", serve_part)] + ([("test", test_part)] if tests else [])
    if all(is_stamped(name, stamp_of(part)) for name, part in wanted) and os.path.exists(PYTHON):
        return
    begun = time.monotonic()
    if not venv_works():
        check_parts()
        make_venv()
    done = [install_part(name, part) for name, part in wanted]
    if any(done):
        say(f"installed in {time.monotonic() - begun:.0f} s")


# -- commands --------------------------------------------------------------------------------------------------


def become(*arguments: str) -> None:
    """Run .venv's Python in our place, so that signals reach it and its exit status is ours."""
    sys.stdout.flush()
    if not WINDOWS:
        os.execv(PYTHON, [PYTHON, *arguments])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(subprocess.call([PYTHON, *arguments]))


def run_all(*commands: list[str]) -> None:
    """Run each, even after a failure; the exit status says whether all went well."""
    failed = 0
    for command in commands:
        say(" ".join(command))
        failed |= subprocess.call([PYTHON, "-m", *command], cwd=ROOT) != 0
    sys.exit(failed)


def test(arguments: list[str]) -> None:
    """pytest; the name of a folder in tests/ stands for that suite, `unit` for all that is fast."""
    os.chdir(ROOT)
    suite = arguments[0] if arguments else ""
    chosen = []
    if suite == "unit":
        chosen = [path for path in ("tests/test_tidy.py", "tests/unit") if os.path.exists(path)]
        chosen += SIDE_BY_SIDE
    elif suite and os.path.isdir(os.path.join("tests", suite)):
        chosen = [os.path.join("tests", suite)]
    become("-m", "pytest", "-q", *chosen, *(arguments[1:] if chosen else arguments))


def check(arguments: list[str]) -> None:
    """Lint, format and types; the product's types for Windows, too, where it could not be run."""
    windows = ["mypy", "--platform", "win32", "burncloud", "tools", "run.py"]
    run_all(["ruff", "check", *arguments], ["ruff", "format", "--check"], ["mypy"], windows)


def build(arguments: list[str]) -> None:
    """A wheel into dist/."""
    os.environ["BURNCLOUD_COMPILE" if "--compiled" in arguments else "BURNCLOUD_PURE"] = "1"
    os.chdir(ROOT)
    become("-m", "hatchling", "build", "-t", "wheel", *(word for word in arguments if word != "--compiled"))


def script(*path: str):  # type: ignore[no-untyped-def]
    """A command that is a Python file of ours."""
    return lambda arguments: become(os.path.join(ROOT, *path), *arguments)


COMMANDS = {
    # word: (needs the test tools, what it does)
    "serve": (False, lambda arguments: become("-m", "burncloud", *arguments)),
    "install": (True, lambda arguments: None),
    "test": (True, test),
    "e2e": (True, lambda arguments: test(["e2e", *arguments])),
    "check": (True, check),
    "format": (True, lambda arguments: run_all(["ruff", "check", "--fix", *arguments], ["ruff", "format"])),
    "bench": (True, script("bench", "run.py")),
    "build": (True, build),
    "docs": (False, script("tools", "pages.py")),
    "lock": (False, script("tools", "lock.py")),
}


def main() -> None:
    """Install what the command needs, then run it."""
    check_version()
    words = sys.argv[1:] or ["serve"]
    if words[0] in ("-h", "--help"):
        print(__doc__)
        return
    # Whatever is no word of ours is one of burncloud's.
    tests, command = COMMANDS.get(words[0], (False, lambda _: become("-m", "burncloud", *words)))
    install(tests)
    command(words[1:])


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
