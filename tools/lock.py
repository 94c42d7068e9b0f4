"""Make requirements.lock: every package pinned with its hashes, for every platform, with no address in it.

    python3 run.py lock [--upgrade]

Without --upgrade the versions stay where the requirements still allow them.  The file has two parts,
so that a user who only serves installs no test tools; each part is a plain requirements file.  The
resolver is uv (from PATH, else installed into a scratch folder), because pip cannot lock for other platforms.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
PYTHON_OLDEST = "3.11"
BUILD = "hatchling>=1.27\neditables>=0.5\n"
"""What an install of the project itself needs; locked, too, because run.py builds without isolation."""
TEST_MARK = "# == test =="
HEAD = """\
# Every package with its hashes, for Linux, macOS and Windows, Python 3.11 and newer. No index address.
# Made by `python3 run.py lock`; not to be edited.
"""


def uv_command(scratch: Path) -> str:
    """A uv to call: the one on PATH, else one installed below `scratch`."""
    found = shutil.which("uv")
    if found:
        return found
    venv.EnvBuilder(with_pip=True).create(scratch)
    binaries = scratch / ("Scripts" if os.name == "nt" else "bin")
    subprocess.run([binaries / "python", "-m", "pip", "install", "-q", "uv"], check=True)
    return str(binaries / "uv")


def compile_requirements(uv: str, scratch: Path, output: Path, *arguments: str) -> dict[str, str]:
    """Resolve; the lines of each package, by name, in the resolver's order."""
    build = scratch / "build.in"
    build.write_text(BUILD)
    command = [uv, "pip", "compile", "--quiet", "--universal", "--python-version", PYTHON_OLDEST, "--generate-hashes"]
    command += ["--no-header", "--no-annotate", "--output-file", str(output), "pyproject.toml", str(build)]
    subprocess.run([*command, *arguments], cwd=ROOT, check=True)
    return split_blocks(output.read_text())


def split_blocks(text: str) -> dict[str, str]:
    """A requirements file's entries by package name; comments are left out."""
    blocks: dict[str, str] = {}
    name = ""
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("#") or not line.strip():
            continue
        start = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line)
        if start:
            name = start.group()
            blocks[name] = ""
        blocks[name] += line
    return blocks


def main() -> None:
    """Write the lock."""
    upgrade = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        uv = uv_command(scratch / "uv")
        everything = scratch / "all.lock"
        if LOCK.is_file():
            everything.write_text("".join(split_blocks(LOCK.read_text()).values()))
        both = compile_requirements(uv, scratch, everything, "--extra", "test", *upgrade)
        serve = compile_requirements(uv, scratch, scratch / "run.lock", "--constraint", str(everything))
    parts = ["".join(both[name] for name in serve), "".join(text for name, text in both.items() if name not in serve)]
    LOCK.write_text(f"{HEAD}{parts[0]}{TEST_MARK} what tests and checks need on top\n{parts[1]}", newline="\n")
    print(f"{LOCK.name}: {len(serve)} packages to run, {len(both) - len(serve)} more to test")


if __name__ == "__main__":
    main()
