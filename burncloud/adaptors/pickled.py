"""Readers and writers of streams, as they stand between two events, in bytes: to be gone on with in another process.

Only the translator beside the worker and the worker itself read such bytes, and only what a translation is made of is
taken out of them: whoever got hold of the one process is not the other's master by that.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, Final

FLOORS: Final = ("burncloud.adaptors.", "burncloud.domain.")
OTHERS: Final = frozenset({
    ("builtins", "bytearray"), ("builtins", "set"), ("builtins", "frozenset"), ("collections", "deque"),
    ("copyreg", "_reconstructor"), ("builtins", "object"), ("msgspec._core", "rebuild"), ("msgspec", "UNSET"),
})  # fmt: skip


class _Unpickler(pickle.Unpickler):
    """Knows the classes of translations alone."""

    def find_class(self, module: str, name: str) -> Any:
        """A class of ours, or one of the few others."""
        found = super().find_class(module, name) if module.startswith(FLOORS) or (module, name) in OTHERS else None
        if (module, name) in OTHERS or isinstance(found, type):
            return found
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a translation")


def packed(value: Any) -> bytes:
    """In bytes; raises TypeError or PicklingError for what cannot be."""
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def unpacked(data: bytes) -> Any:
    """What was packed; raises UnpicklingError for anything else."""
    return _Unpickler(io.BytesIO(data)).load()
