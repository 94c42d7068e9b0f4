"""The product as `pip install .` puts it down where a C compiler stands ready: a wheel with native modules.

It is built from this checkout into a virtual environment of its own, which sees the packages that are installed here.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def native_python(folder: Path) -> str:
    """A Python with the wheel, built below `folder` in about a minute.  Raises subprocess.CalledProcessError."""
    subprocess.run([sys.executable, ROOT / "run.py", "build", "--compiled", "-d", folder], check=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "native", symlinks=True)
    site = sysconfig.get_path("purelib", "venv", {"base": str(folder / "native")})
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    Path(site, "installed_here.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return str(folder / "native" / "bin" / "python")
