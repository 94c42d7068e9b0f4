"""Comes into every process of a product under test, by itself: Python imports `sitecustomize` from PYTHONPATH.

It does, before the product's own code runs, what only a test wants done to one process and not to the next:
a crash point for this process alone, small journal segments, one rule of the protocol taken out
(rules.py), a disk that fails.  All of it comes through KILL_DIR, the folder of one test house; without that
variable nothing happens.  None of this stands in the product.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

DEAD = 97
"""Exit status of a process whose preparation failed: better no process than one that is not what the test thinks."""


def role_of(boot: str) -> str:
    """ "control", "worker-0", …, "check"; "" for the supervisor and the command line."""
    if not boot:
        return ""
    record = json.loads(boot)
    return f"worker-{record['index']}" if record["role"] == "worker" else str(record["role"])


def take_arm(folder: Path, role: str) -> str:
    """The crash point laid ready for the next process of this role ("point:n"), taken by exactly one; "" = none."""
    for path in sorted(folder.glob(f"arm.{role}.*")):
        taken = folder / f"taken.{role}.{os.getpid()}"
        try:
            path.rename(taken)
        except FileNotFoundError:
            continue
        return taken.read_text()
    return ""


def fail_disks(folder: Path) -> None:
    """Have a sync or a write of a segment fail once, when a file `eio` or `short` lies in the folder."""
    sync, write = os.fdatasync, os.pwrite
    images = folder / "durable"

    def taken(name: str) -> bool:
        try:
            (folder / name).rename(folder / f"{name}.taken")
        except FileNotFoundError:
            return False
        return True

    def fdatasync(fd: Any) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        if path.suffix == ".seg":
            if taken("eio"):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            if images.is_dir():  # what a loss of power would leave
                image = images / f"{path.parent.name}-{path.name}"
                shutil.copyfile(path, image.with_suffix(".new"))
                image.with_suffix(".new").rename(image)
        sync(fd)

    def pwrite(fd: int, data: Any, offset: int) -> int:
        if len(data) > 8 and taken("short"):
            return write(fd, data[: len(data) // 2], offset)
        return write(fd, data, offset)

    os.fdatasync = fdatasync
    os.pwrite = pwrite


def shorten_segments(size: int) -> None:
    """Make journal segments this long, so that a test sees many of them."""
    import burncloud.domain.journal as records
    import burncloud.wire.journal as writer

    for module, name, value in (
        (records, "SEGMENT_BYTES", size),
        (writer, "SEGMENT_BYTES", size),
        (writer, "SETTLE_ROOM_BYTES", size // 8),
    ):
        assert hasattr(module, name), name
        setattr(module, name, value)


def prepare(folder: Path) -> None:
    """All of it, for this process."""
    role = role_of(os.environ.get("BURNCLOUD_BOOT", ""))
    arm = take_arm(folder, role) if role else ""
    if arm:
        os.environ["CRASH_AT"] = arm
    mutation = os.environ.get("MUTATE", "")
    if role:
        fail_disks(folder)
        if size := int(os.environ.get("SEGMENT_BYTES", "0")):
            shorten_segments(size)
        if mutation:
            from tests.slow.shim import rules

            rules.take_out(mutation, role)
    note = {"role": role or "other", "pid": os.getpid(), "parent": os.getppid(), "arm": arm, "mutation": mutation}
    with (folder / "processes.log").open("a") as log:
        log.write(json.dumps(note) + "\n")


if os.environ.get("KILL_DIR"):
    try:
        prepare(Path(os.environ["KILL_DIR"]))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(DEAD)
