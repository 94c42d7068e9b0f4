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
