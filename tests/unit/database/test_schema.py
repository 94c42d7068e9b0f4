"""The tables against the records that they hold, and what must never be."""

from __future__ import annotations

from burncloud.database import schema
from burncloud.domain.journal import Attempt, End
from burncloud.domain.usage import KINDS


def test_a_receipt_has_the_fields_of_end_in_their_order() -> None:
    fields = [*End.__struct_fields__]
    at = fields.index("usage")
    assert fields[-3:] == ["attempts", "lossy", "requested"]
    expected = ["journal", *fields[:at], *KINDS, *fields[at + 1 : -3], "late", *fields[-2:]]
    assert [column.name for column in schema.receipts.columns] == expected


def test_an_attempt_has_the_fields_of_attempt_in_their_order() -> None:
    n, *rest = Attempt.__struct_fields__
    assert [column.name for column in schema.attempts.columns] == ["journal", "x", n, "day", *rest]


def test_a_price_has_every_kind() -> None:
    assert set(KINDS) < {column.name for column in schema.prices.columns}


def test_the_unique_key_that_stops_a_second_booking() -> None:
    assert [column.name for column in schema.receipts.primary_key] == ["journal", "x", "day"]
    assert [column.name for column in schema.attempts.primary_key] == ["journal", "x", "n"]


def test_no_foreign_key_leads_out_of_the_ledger() -> None:
    """Receipts outlive what they name; and each key would cost the booking a look-up."""
    for name in ("receipts", "attempts", "balances", "leases", "journals", "usage_hourly", "ledger_carry"):
        assert not schema.metadata.tables[name].foreign_keys


def test_ids_are_never_reused() -> None:
    for name in ("users", "tokens", "channels", "channel_keys", "journals", "changes"):
        assert schema.metadata.tables[name].dialect_options["sqlite"]["autoincrement"] is True
