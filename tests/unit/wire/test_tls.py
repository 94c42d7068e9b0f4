"""TLS towards upstreams: verified, one context for each setting."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from burncloud.wire.tls import TlsSetting, context


def test_verification_is_on() -> None:
    """By default: certificates and names."""
    made = context(TlsSetting())
    assert (made.verify_mode, made.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert made.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_one_context_for_each_setting(tmp_path: Path) -> None:
    """Never one a channel."""
    ca = trustme.CA()
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    settings = [TlsSetting(), TlsSetting(str(path)), TlsSetting("", False), TlsSetting(str(path), False)]
    assert len({id(context(setting)) for setting in settings}) == 4
    assert context(TlsSetting(str(path))) is context(TlsSetting(str(path)))


def test_a_private_ca_is_trusted_beside_the_others(tmp_path: Path) -> None:
    """Not instead of them."""
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    private, plain = context(TlsSetting(str(path))), context(TlsSetting())
    assert private.cert_store_stats()["x509"] == plain.cert_store_stats()["x509"] + 1


def test_verification_can_be_off() -> None:
    """Where a channel says so."""
    made = context(TlsSetting(verify=False))
    assert (made.verify_mode, made.check_hostname) == (ssl.CERT_NONE, False)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_that_is_none(tmp_path: Path, content: str | None) -> None:
    """OSError, and again the next time: a mended file works without a restart."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    for _ in range(2):
        with pytest.raises(OSError):
            context(TlsSetting(str(path)))
    trustme.CA().cert_pem.write_to_path(str(path))
    assert context(TlsSetting(str(path))).cert_store_stats()["x509"] > 0
