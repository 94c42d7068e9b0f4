"""hatchling's build hook: native modules by mypyc where a C compiler stands ready, else plain Python.

Which modules, says pyproject.toml ([tool.hatch.build.targets.wheel.hooks.custom] compiled = globs);
the source is the same either way, and an editable install is always plain.  BURNCLOUD_PURE=1 forces a
plain wheel; BURNCLOUD_COMPILE=1 makes a failed compilation an error instead of a plain wheel.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

REQUIREMENTS = ["mypy[mypyc]>=2.4.1", "setuptools>=80", "msgspec", "httptools"]
"""The compiler, and what the modules import, for it reads that, too: an isolated build has nothing of the project's."""
COMPILERS = ("cc", "gcc", "clang", "cl")
SETUP = """\
from mypyc.build import mypycify
from setuptools import setup
setup(name="burncloud-native", packages=[], ext_modules=mypycify({arguments!r}, opt_level="3"))
"""


def can_compile() -> bool:
    """Whether a C compiler stands ready, and Python's own headers, which Debian packs apart (python3-dev)."""
    return any(map(shutil.which, COMPILERS)) and Path(sysconfig.get_path("include"), "Python.h").exists()


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Compiles the listed modules into the wheel."""

    def modules(self) -> list[str]:
        """The source files to compile, relative to the root, sorted; empty: a plain wheel."""
        return [] if os.environ.get("BURNCLOUD_PURE") or not can_compile() else self.listed()

    def listed(self) -> list[str]:
        """Those that pyproject.toml lists, relative to the root, sorted."""
        found = (path for glob in self.config.get("compiled", []) for path in Path(self.root).glob(glob))
        return sorted({path.relative_to(self.root).as_posix() for path in found if path.name != "__init__.py"})

    def dependencies(self) -> list[str]:
        """What an isolated build must install first: nothing for a plain wheel."""
        return REQUIREMENTS if self.modules() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and put the native modules into the wheel beside their sources."""
        modules = self.modules()
        if version == "editable" or not modules:
            return
        self.out = tempfile.mkdtemp(prefix="burncloud-native-")
        # In a copy, because setuptools would read our pyproject.toml as its own and leave C files in the tree.
        source, native = Path(self.out, "source"), Path(self.out, "native")
        shutil.copytree(Path(self.root, "burncloud"), source / "burncloud", ignore=shutil.ignore_patterns("*.so"))
        Path(source, "setup.py").write_text(SETUP.format(arguments=["--config-file=", *modules]))
        command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(native)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, cwd=source, env=environment, check=False)
        if done.returncode:
            if os.environ.get("BURNCLOUD_COMPILE"):
                raise SystemExit("mypyc failed (above); BURNCLOUD_PURE=1 builds a plain wheel")
            self.app.display_warning("mypyc failed (above): this wheel is plain Python")
            return
        for path in [*native.rglob("*.so"), *native.rglob("*.pyd")]:
            build_data["force_include"][str(path)] = path.relative_to(native).as_posix()
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the scratch folder."""
        shutil.rmtree(getattr(self, "out", ""), ignore_errors=True)
