"""Schemas: JSON Schema, and the part of OpenAPI 3.0's schema objects that is Gemini's `Schema`.

Gemini 2.5 and later take JSON Schema (parametersJsonSchema, responseJsonSchema) and heed the keywords of _HEEDED;
others they ignore, so those go along and are named.  Older models refuse what they do not know: for them a schema
is rewritten, its references put in place.  A reference beside other keywords is put in place for both, since the
API wants it alone.
"""

from __future__ import annotations

from typing import Any, Final

from burncloud.adaptors import canon
from burncloud.adaptors.gemini.names import camel

Schema = dict[str, Any]

_TYPES: Final = ("STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL")
_COUNTS: Final = frozenset({"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"})
_MAPS: Final = frozenset({"properties", "$defs", "definitions", "patternProperties"})
_LISTS: Final = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_SINGLE: Final = frozenset({"items", "additionalProperties", "not"})

# Reading


def read_schema(schema: Any) -> Any:
    """Gemini's Schema as JSON Schema; ValueError if it nests too deep."""
    try:
        return _read(schema)
    except RecursionError:
        raise ValueError("the schema nests too deep") from None


def _read(schema: Any) -> Any:
    if type(schema) is not dict:
        return schema
    found: Schema = {}
    nullable = False
    for given, value in schema.items():
        name: str = _KEYS.get(given) or camel(given)
        if name == "nullable":
            nullable = bool(value)
        elif name == "type":
            found["type"] = _read_type(value)
        elif name in _COUNTS and type(value) is str and value.isdecimal() and len(value) < 20:
            found[name] = int(value)  # 64-bit numbers are strings in protobuf's JSON
        else:
            found[name] = _each(name, value, _read)
    if nullable:
        kind = found.get("type")
        if type(kind) is str:
            found["type"] = [kind, "null"]
        else:
            found["nullable"] = True
    return found


_KEYS: Final[dict[str, str]] = {"defs": "$defs", "ref": "$ref"}
_KEYS_BACK: Final[dict[str, str]] = {"$defs": "defs", "$ref": "ref"}


def _read_type(value: Any) -> Any:
    if type(value) is int and 0 < value <= len(_TYPES):  # enum-encoding=int
        value = _TYPES[value - 1]
    if type(value) is list:
        return [_read_type(kind) for kind in value]
    return value.lower() if type(value) is str else value


def _each(name: str, value: Any, change: Any) -> Any:
    """A keyword's value with `change` made in the schemas that it holds."""
    if name in _MAPS and type(value) is dict:
        return {key: change(inner) for key, inner in value.items()}
    if name in _LISTS and type(value) is list:
        return [change(inner) for inner in value]
    return change(value) if name in _SINGLE else value


# Writing


def own_schema(schema: Any) -> Any:
    """JSON Schema that was read from Gemini's Schema, as that again."""
    if type(schema) is not dict:
        return schema
    found: Schema = {}
    for name, value in schema.items():
        if name == "type" and type(value) is list and len(value) == 2 and value[1] == "null":
            found["type"], found["nullable"] = str(value[0]).upper(), True
        elif name == "type":
            found["type"] = value.upper() if type(value) is str else value
        else:
            found[_KEYS_BACK.get(name) or name] = _each(name, value, own_schema)
    return found


_HEEDED: Final = frozenset({
    "$id", "$defs", "definitions", "$ref", "$anchor", "$schema", "$comment", "type", "format", "title", "description",
    "enum", "items", "prefixItems", "minItems", "maxItems", "minimum", "maximum", "anyOf", "oneOf", "properties",
    "additionalProperties", "required", "propertyOrdering", "default", "examples", "example", "deprecated",
})  # fmt: skip
"""Google AI docs, GenerationConfig.responseJsonSchema; the annotations change nothing."""


def json_schema(schema: Schema, losses: canon.Losses) -> Schema:
    """For models that take JSON Schema; ValueError if it nests too deep."""
    try:
        found: Schema = _heeded(schema, _Places(schema), losses)
    except RecursionError:
        raise ValueError("the schema nests too deep") from None
    found.pop("$schema", None)
    return found


def _heeded(schema: Any, places: _Places, losses: canon.Losses) -> Any:
    if type(schema) is not dict:
        return schema
    if "$ref" in schema and any(not name.startswith("$") for name in schema):
        schema = places.beside(schema)
    found: Schema = {}
    for name, value in schema.items():
        if name == "const" and "enum" not in schema and type(value) in (str, int, float):
            found["enum"] = [value]
            continue
        if name not in _HEEDED:
            losses.add(f"schema.{name}")
        found[name] = _each(name, value, lambda inner: _heeded(inner, places, losses))
    return found


class _Places:
    """The schemas that references of one schema point at; `within`: those that are being put in place."""

    def __init__(self, root: Schema) -> None:
        self.root = root
        self.within: list[str] = []

    def at(self, ref: Any) -> Schema | None:
        """What a reference into the same schema points at."""
        if type(ref) is not str or not ref.startswith("#"):
            return None
        found: Any = self.root
        for step in ref[1:].split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            found = found.get(step) if type(found) is dict else None
        return found if type(found) is dict else None

    def beside(self, schema: Schema) -> Schema:
        """The schema with what it refers to in place of the reference; alone the reference where that is no schema."""
        target = self.at(schema["$ref"])
        rest = {name: value for name, value in schema.items() if name != "$ref"}
        if target is None or "$ref" in target or target is schema or _refers(target, schema["$ref"]):
            return {"$ref": schema["$ref"]}
        return {**target, **rest}


def _refers(schema: Any, ref: str) -> bool:
    """Whether a schema refers to itself, in any depth."""
    if type(schema) is dict:
        return schema.get("$ref") == ref or any(_refers(value, ref) for value in schema.values())
    return type(schema) is list and any(_refers(value, ref) for value in schema)


_KNOWN: Final = frozenset({
    "title", "description", "enum", "items", "minItems", "maxItems", "minimum", "maximum", "anyOf", "properties",
    "required", "propertyOrdering", "minLength", "maxLength", "minProperties", "maxProperties", "pattern", "nullable",
})  # fmt: skip
_SILENT: Final = frozenset({
    "$schema", "$id", "$defs", "definitions", "$comment", "default", "example", "examples", "deprecated",
    "additionalProperties",
})  # fmt: skip
"""Gone without a word: annotations, what is put in place, and an object's closedness that Gemini has anyway."""
_FORMATS: Final = {
    "number": ("float", "double"), "integer": ("int32", "int64"), "string": ("enum", "date-time"),
}  # fmt: skip
_DEPTH_MAX: Final = 24
"""A schema that refers to itself is put in place only so deep."""


def open_schema(schema: Schema, losses: canon.Losses) -> Schema:
    """As Gemini's Schema, for models that take only that; ValueError if it nests too deep."""
    try:
        found: Schema = _rewritten(schema, _Places(schema), losses)
        return found
    except RecursionError:
        raise ValueError("the schema nests too deep") from None


def _rewritten(schema: Any, places: _Places, losses: canon.Losses) -> Any:
    if type(schema) is not dict:
        return {"type": "STRING"} if schema is False else {}
    ref = schema.get("$ref")
    if ref is not None:
        return _placed(schema, ref, places, losses)
    schema = _joined(schema, losses)
    found: Schema = {}
    kind = _kind(schema, found)
    for name, value in schema.items():
        if name in ("properties",) and type(value) is dict:
            found[name] = {key: _rewritten(inner, places, losses) for key, inner in value.items()}
        elif name == "items":
            found[name] = _rewritten(value, places, losses)
        elif name in ("anyOf", "oneOf") and type(value) is list:
            _alternatives(value, found, places, losses)
        elif name == "enum" and type(value) is list:
            _enum(value, found, losses)
        elif name == "const":
            _enum([value], found, losses)
        elif name == "format":
            if value in _FORMATS.get(kind, ()):
                found[name] = value
            else:
                losses.add("schema.format")
        elif name in _KNOWN:
            found[name] = value
        elif name not in _SILENT and name != "type":
            losses.add(f"schema.{name}")
    if type(schema.get("additionalProperties")) is dict:
        losses.add("schema.additionalProperties")
    if found.get("type") == "ARRAY":
        found.setdefault("items", {"type": "STRING"})
    return found


def _kind(schema: Schema, found: Schema) -> str:
    """`type`, in Gemini's form; several become alternatives.  The word is given back in JSON Schema's form."""
    given = schema.get("type")
    kinds = [kind for kind in given if type(kind) is str] if type(given) is list else [given]
    if "null" in kinds and len(kinds) > 1:
        found["nullable"] = True
        kinds.remove("null")
    if len(kinds) > 1:
        found["anyOf"] = [{"type": str(kind).upper()} for kind in kinds]
        return ""
    kind = kinds[0] if kinds else None
    if type(kind) is not str:
        if "anyOf" in schema or "oneOf" in schema:
            return ""
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    found["type"] = kind.upper()
    return kind


def _placed(schema: Schema, ref: Any, places: _Places, losses: canon.Losses) -> Any:
    target = places.at(ref)
    if target is None or places.within.count(ref) > 1 or len(places.within) > _DEPTH_MAX:
        losses.add("schema.$ref")
        return {"type": "OBJECT"}
    places.within.append(ref)
    try:
        return _rewritten({**target, **{k: v for k, v in schema.items() if k != "$ref"}}, places, losses)
    finally:
        places.within.pop()


def _joined(schema: Schema, losses: canon.Losses) -> Schema:
    """`allOf` of objects as one object."""
    parts = schema.get("allOf")
    if type(parts) is not list:
        return schema
    whole = {name: value for name, value in schema.items() if name != "allOf"}
    if len(parts) > 1:
        losses.add("schema.allOf")
    for part in parts:
        for name, value in part.items() if type(part) is dict else ():
            known = whole.get(name)
            if type(known) is dict and type(value) is dict:
                whole[name] = {**known, **value}
            elif type(known) is list and type(value) is list:
                whole[name] = [*known, *value]
            else:
                whole.setdefault(name, value)
    return whole


def _alternatives(values: list[Any], found: Schema, places: _Places, losses: canon.Losses) -> None:
    """anyOf; a null among the alternatives makes the schema nullable."""
    kept = [value for value in values if not (type(value) is dict and value.get("type") == "null")]
    if len(kept) < len(values):
        found["nullable"] = True
    written = [_rewritten(value, places, losses) for value in kept]
    if len(written) == 1:
        found.update({name: value for name, value in written[0].items() if name not in found})
    elif written:
        found["anyOf"] = written
        found.pop("type", None)


def _enum(values: list[Any], found: Schema, losses: canon.Losses) -> None:
    """An enum of strings is all that Gemini's Schema has."""
    if any(value is None for value in values):
        found["nullable"] = True
    kept = [value for value in values if value is not None]
    if found.get("type") == "STRING" or (kept and all(type(value) is str for value in kept)):
        found["type"] = "STRING"
        found["enum"] = [value if type(value) is str else str(value) for value in kept]
    else:
        losses.add("schema.enum")
