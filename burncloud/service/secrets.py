"""Secrets at rest: the master key, upstream keys encrypted with it, tokens and passwords hashed.

Upstream keys must be read back to be sent, so they are encrypted (AES-256-GCM, bound to their
channel); tokens and passwords need only be recognised, so no more than a hash of them is kept.
The master key is `MASTER_KEY` or the file `<DATA_DIR>/master.key`, made once, readable by its
owner alone.  The database remembers the key's fingerprint, so that a second key can never slip in.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
import string
from pathlib import Path
from typing import Final

from burncloud.config import ConfigError, Settings
from burncloud.database import secrets as rows
from burncloud.database.engine import Database

KEY_BYTES: Final = 32
KEY_FILE: Final = "master.key"
NONCE_BYTES: Final = 12
SEAL_VERSION: Final = b"\x01"
TOKEN_PREFIX: Final = "sk-"
TOKEN_CHARS: Final = 48
ALPHANUMERICS: Final = string.ascii_letters + string.digits


class WrongKey(Exception):
    """A secret cannot be opened: it was sealed with another master key, for another channel, or is damaged."""


class KeyMismatch(Exception):
    """The database's secrets were sealed with a master key that is not here; the message says what to do."""


class MasterKey:
    """Seals and opens the upstream keys."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a master key has {KEY_BYTES} bytes, not {len(key)}")
        self._key = key

    @property
    def fingerprint(self) -> str:
        """16 hex digits that identify the key without giving it away."""
        return hashlib.sha256(b"burncloud master key\0" + self._key).hexdigest()[:16]

    def seal(self, secret: str, channel: int) -> bytes:
        """The secret encrypted for this channel alone: version, nonce, ciphertext with its tag."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # 40 ms that most starts don't need

        nonce = os.urandom(NONCE_BYTES)
        return SEAL_VERSION + nonce + AESGCM(self._key).encrypt(nonce, secret.encode(), str(channel).encode())

    def open(self, sealed: bytes, channel: int) -> str:
        """The secret in the clear; raises WrongKey."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce, text = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        if sealed[:1] != SEAL_VERSION or len(nonce) != NONCE_BYTES:
            raise WrongKey("the stored secret has an unknown format")
        try:
            return AESGCM(self._key).decrypt(nonce, text, str(channel).encode()).decode()
        except InvalidTag:
            raise WrongKey("the stored secret was sealed with another master key") from None


def parse_master_key(text: str) -> MasterKey:
    """A key from text: 64 hex digits or 32 bytes in (url-safe) base64.  Raises ConfigError, never quoting the text."""
    text = text.strip()
    try:
        key = bytes.fromhex(text)
    except ValueError:
        try:
            key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
        except (binascii.Error, ValueError):
            key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError("MASTER_KEY must be 64 hex digits (make one with `openssl rand -hex 32`)")
    return MasterKey(key)


def load_master_key(data_dir: str | Path, text: str = "", create: bool = True) -> MasterKey | None:
    """The key from `text` (the setting MASTER_KEY), else from the file, which is made first if `create`.

    Safe against several processes making the file at once: one wins, all read the winner's.
    None if there is no key and none may be made; raises ConfigError for a key that is malformed.
    """
    if text.strip():
        return parse_master_key(text)
    path = Path(data_dir) / KEY_FILE
    if not path.exists():
        if not create:
            return None
        _create_file(path)
    try:
        return parse_master_key(path.read_text("ascii"))
    except ValueError:
        raise ConfigError(f"{path} does not hold a master key; restore the file from a backup") from None


def _create_file(path: Path) -> None:
    """A new random key, complete on disk before it has its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{KEY_FILE}.{secrets.token_hex(8)}")
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(file, os.urandom(KEY_BYTES).hex().encode() + b"\n")
        os.fsync(file)
        os.link(temporary, path)
    except FileExistsError:
        pass  # another process was first: its key is the key
    finally:
        os.close(file)
        os.unlink(temporary)


def new_token_key() -> str:
    """A client's key: "sk-" and 48 random letters and digits (285 bits)."""
    return TOKEN_PREFIX + "".join(secrets.choice(ALPHANUMERICS) for _ in range(TOKEN_CHARS))


def hash_token_key(key: str) -> bytes:
    """What is stored of a client's key: SHA-256 of all of its text.  (No salt: it is random enough.)"""
    return hashlib.sha256(key.encode()).digest()


def hint(key: str) -> str:
    """How lists show a key: its prefix and its last four characters, never more than a third of it."""
    prefix = TOKEN_PREFIX if key.startswith(TOKEN_PREFIX) else ""
    return f"{prefix}…{key[-4:]}" if len(key) >= 12 + len(prefix) else f"{prefix}…"


def new_channel_ref() -> str:
    """A channel's public name: "ch_" and 12 random letters and digits, telling nothing."""
    return "ch_" + "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(12))


def new_password() -> str:
    """A random password of 20 letters and digits (119 bits)."""
    return "".join(secrets.choice(ALPHANUMERICS) for _ in range(20))


def hash_password(password: str) -> str:
    """Argon2id with the library's current parameters, as the PHC string."""
    from argon2 import PasswordHasher

    return PasswordHasher().hash(password)


def check_password(password_hash: str, password: str) -> bool:
    """Whether the password is the one that was hashed."""
    from argon2 import PasswordHasher
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        return PasswordHasher().verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


async def open_master_key(db: Database, settings: Settings) -> MasterKey:
    """The master key of this database: made at the first call ever, checked against the fingerprint at all others.

    Raises KeyMismatch where another key sealed what the database holds, ConfigError for one that is malformed.
    """
    path = Path(settings.data_dir) / KEY_FILE
    async with db.read() as conn:
        known = await rows.get_fingerprint(conn)
    key = load_master_key(settings.data_dir, settings.master_key, create=not known)
    if key is not None and not known:
        known = await db.run(lambda conn: rows.create_fingerprint(conn, key.fingerprint))
    if key is None or key.fingerprint != known:
        what = f"the file {path} is missing" if key is None else "the master key is another one"
        raise KeyMismatch(
            f"The upstream keys in this database cannot be opened: {what}; restore {path} from a backup, "
            "or set MASTER_KEY or DATA_DIR to what they were"
        )
    return key
