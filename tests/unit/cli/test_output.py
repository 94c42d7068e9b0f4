"""What commands print."""

from __future__ import annotations

import json

import pytest

from burncloud.cli import output
from burncloud.errors import NOT_FOUND


def test_money_stands_twice_and_as_text() -> None:
    assert output.money("used", 15_000_000) == {"used": "0.015", "used_nano": "15000000"}
    assert output.money("used", None) == {"used": None, "used_nano": None}
    assert output.limit("quota", -1) == {"quota": "unlimited", "quota_nano": "-1"}
    assert output.limit("quota", 0) == {"quota": "0.00", "quota_nano": "0"}
    assert output.money("most", 1 << 62)["most_nano"] == str(1 << 62)


@pytest.mark.parametrize(
    ("ppm", "text"), [(1_000_000, "1"), (1_500_000, "1.5"), (1, "0.000001"), (0, "0"), (10_000_000, "10")]
)
def test_ratios(ppm: int, text: str) -> None:
    assert output.ratio_text(ppm) == text


def test_times_and_flags() -> None:
    assert output.time_text(1_700_000_000) == "2023-11-14 22:13:20Z"
    assert output.time_text(-1) == "never"
    assert (output.flag(True), output.flag(False)) == ("yes", "no")


def test_tables_are_not_cut_off_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(["id", "models"], [["1", "x" * 200], ["22", "[bold]markup is text[/bold]"]], right=["id"])
    printed = capsys.readouterr().out
    assert "x" * 200 in printed
    assert "[bold]markup is text[/bold]" in printed
    assert " 1 " in printed


def test_an_empty_table_says_so_beside_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(["id"], [])
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "There are none.\n")


def test_json_and_facts(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit({"name": "ключ"})
    assert json.loads(capsys.readouterr().out) == {"name": "ключ"}
    output.facts([("a", "1"), ("long name", "2")])
    assert capsys.readouterr().out == "a          1\nlong name  2\n"


def test_errors_go_to_stderr_in_the_form_that_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    output.error(NOT_FOUND, "There is no x", as_json=False)
    output.error(NOT_FOUND, "There is no x", as_json=True)
    text, body = capsys.readouterr().err.splitlines()
    assert text == "Error: There is no x."
    assert json.loads(body)["error"] == {"message": "There is no x", "type": "not_found_error", "code": "not_found"}


def test_the_first_password_is_shown_beside_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    output.first_password("")
    assert capsys.readouterr().err == ""
    output.first_password("s3cret")
    printed = capsys.readouterr()
    assert "s3cret" in printed.err
    assert printed.out == ""


def test_times_past_the_calendar_do_not_end_a_list() -> None:
    assert output.time_text(1 << 60) == "9999-12-31 23:59:59Z"
