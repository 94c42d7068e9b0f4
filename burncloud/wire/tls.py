"""TLS towards upstreams: one context for each distinct setting, verification on.

A context costs about a megabyte and its session cache makes reconnects cheap, so it is never made per
channel (DATAPLANE.md rule 6).
"""

from __future__ import annotations

import ssl
from functools import lru_cache
from typing import NamedTuple


class TlsSetting(NamedTuple):
    """What may differ between two upstreams' TLS."""

    ca_file: str = ""
    """PEM file of a private CA, trusted beside the system's; "" = the system's only."""
    verify: bool = True


@lru_cache(maxsize=64)
def context(setting: TlsSetting) -> ssl.SSLContext:
    """The shared client context of a setting.  Raises OSError if the CA file cannot be read."""
    made = ssl.create_default_context()
    if setting.ca_file:
        made.load_verify_locations(cafile=setting.ca_file)
    if not setting.verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    made.set_alpn_protocols(["http/1.1"])
    return made


def ca_file_fault(path: str) -> str:
    """What is wrong with a file of authorities, as the end of a sentence; "" = nothing."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        return "holds no certificates in PEM form"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return ""
