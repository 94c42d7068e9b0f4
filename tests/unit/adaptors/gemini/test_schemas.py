"""Schemas, both ways."""

from __future__ import annotations

from typing import Any

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.gemini.schemas import json_schema, open_schema, own_schema, read_schema


@pytest.mark.parametrize(
    ("theirs", "plain"),
    [
        ({"type": "STRING"}, {"type": "string"}),
        ({"type": "STRING", "nullable": True}, {"type": ["string", "null"]}),
        (
            {"type": "ARRAY", "items": {"type": "INTEGER"}, "minItems": 2},
            {"type": "array", "items": {"type": "integer"}, "minItems": 2},
        ),
        (
            {"type": "OBJECT", "properties": {"snake_name": {"anyOf": [{"type": "NUMBER"}]}}},
            {"type": "object", "properties": {"snake_name": {"anyOf": [{"type": "number"}]}}},
        ),
        ({"ref": "#/defs/a", "defs": {"a": {"type": "NULL"}}}, {"$ref": "#/defs/a", "$defs": {"a": {"type": "null"}}}),
    ],
)
def test_there_and_back(theirs: dict[str, Any], plain: dict[str, Any]) -> None:
    assert read_schema(theirs) == plain
    assert own_schema(plain) == theirs


def test_other_spellings() -> None:
    assert read_schema({"type": 6, "property_ordering": ["a"], "max_items": "3"}) == {
        "type": "object",
        "propertyOrdering": ["a"],
        "maxItems": 3,
    }


NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}, "v": {"type": "integer"}}}


def test_json_schema_goes_whole() -> None:
    losses = canon.Losses()
    schema = {
        "$schema": "x", "type": "object", "$defs": {"A": {"type": "string"}, "Node": NODE},
        "properties": {
            "a": {"$ref": "#/$defs/A", "description": "d"}, "b": {"$ref": "#/$defs/A"}, "c": {"const": "x"},
            "n": {"$ref": "#/$defs/Node", "title": "t"}, "p": {"type": "string", "pattern": "^a"},
        },
    }  # fmt: skip
    found = json_schema(schema, losses)
    assert found["properties"] == {
        "a": {"type": "string", "description": "d"},
        "b": {"$ref": "#/$defs/A"},
        "c": {"enum": ["x"]},
        "n": {"$ref": "#/$defs/Node"},
        "p": {"type": "string", "pattern": "^a"},
    }
    assert "$schema" not in found
    assert losses.names() == ["schema.pattern"]


def test_older_models_get_openapi() -> None:
    losses = canon.Losses()
    schema = {
        "type": "object", "additionalProperties": False, "$defs": {"A": {"enum": ["x", "y"]}},
        "properties": {
            "a": {"$ref": "#/$defs/A"}, "b": {"type": ["string", "integer"]},
            "c": {"anyOf": [NULL, {"type": "number"}]},
            "d": {"type": "array"}, "e": {"type": "integer", "enum": [1, 2]}, "f": {"type": "string", "format": "uri"},
            "g": {"allOf": [{"type": "object", "properties": {"z": {"type": "boolean"}}}]}, "h": {"const": 5},
        },
    }  # fmt: skip
    assert open_schema(schema, losses)["properties"] == {
        "a": {"type": "STRING", "enum": ["x", "y"]},
        "b": {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]},
        "c": {"nullable": True, "type": "NUMBER"},
        "d": {"type": "ARRAY", "items": {"type": "STRING"}},
        "e": {"type": "INTEGER"},
        "f": {"type": "STRING"},
        "g": {"type": "OBJECT", "properties": {"z": {"type": "BOOLEAN"}}},
        "h": {"type": "STRING", "enum": ["5"]},
    }
    assert losses.names() == ["schema.enum", "schema.format"]


NULL = {"type": "null"}


def test_what_refers_to_itself_ends() -> None:
    losses = canon.Losses()
    found = open_schema({"$ref": "#/$defs/Node", "$defs": {"Node": NODE}}, losses)
    assert found["properties"]["next"]["properties"]["next"] == {"type": "OBJECT"}
    assert losses.names() == ["schema.$ref"]


def test_too_deep() -> None:
    schema: dict[str, Any] = {"type": "array"}
    for _ in range(3000):
        schema = {"type": "array", "items": schema}
    for change in (read_schema, lambda value: json_schema(value, canon.Losses())):
        with pytest.raises(ValueError, match="too deep"):
            change(schema)
