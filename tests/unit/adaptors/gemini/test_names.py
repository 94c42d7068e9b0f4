"""Names in either spelling."""

from __future__ import annotations

import pytest

from burncloud.adaptors.gemini.names import Names, camel, camelled
from burncloud.errors import Refusal


@pytest.mark.parametrize(
    ("given", "want"),
    [("function_declarations", "functionDeclarations"), ("topP", "topP"), ("_private", "_private"), ("a__b", "aB")],
)
def test_camel(given: str, want: str) -> None:
    assert camel(given) == want


def test_only_an_objects_own_names_change() -> None:
    assert camelled({"a_b": {"c_d": 1}}) == {"aB": {"c_d": 1}}
    fields = Names({"tool_config": {"some_list": {"x_y": 1}}}, "")
    inner = fields.inner("toolConfig")
    assert inner is not None
    assert [one.rest() for one in inner.listed("someList")] == [{"xY": 1}]
    with pytest.raises(Refusal, match="a must be an object"):
        Names({"a": 5}).inner("a")
