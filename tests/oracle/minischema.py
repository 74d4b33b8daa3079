"""The part of JSON Schema that `tests/vectors/schema.json` uses, so that checking it needs no package."""

from __future__ import annotations

import re
from typing import Any

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
KNOWN = {
    "$schema", "$defs", "$ref", "title", "type", "enum", "const", "oneOf", "pattern", "minimum", "maximum", "items",
    "minItems", "required", "properties", "additionalProperties", "minProperties", "maxProperties",
}  # fmt: skip


def _is(value: Any, kind: str) -> bool:
    if kind == "integer":
        return type(value) is int
    return isinstance(value, TYPES[kind])


def problems(value: Any, schema: dict[str, Any], root: dict[str, Any], at: str = "$") -> list[str]:
    """Every way in which `value` does not satisfy `schema`; an unknown keyword is an error of the schema."""
    assert set(schema) <= KNOWN, f"keywords not implemented here: {set(schema) - KNOWN}"
    found: list[str] = []
    if "$ref" in schema:
        found += problems(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, at)
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        return [*found, f"{at}: not {' or '.join(kinds)}"]
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: {value!r} is none of {schema['enum']}")
    if "const" in schema and value != schema["const"]:
        found.append(f"{at}: {value!r} is not {schema['const']!r}")
    if "oneOf" in schema:
        fits = sum(not problems(value, branch, root, at) for branch in schema["oneOf"])
        if fits != 1:
            found.append(f"{at}: fits {fits} of the forms, not one")
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{at}: does not match {schema['pattern']}")
    if type(value) is int and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        found.append(f"{at}: {value} is out of range")
    if isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            found.append(f"{at}: too few entries")
        for index, entry in enumerate(value if "items" in schema else []):
            found += problems(entry, schema["items"], root, f"{at}[{index}]")
    if isinstance(value, dict):
        found += _object(value, schema, root, at)
    return found


def _object(value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], at: str) -> list[str]:
    known = schema.get("properties", {})
    found = [f"{at}: {name} is missing" for name in schema.get("required", []) if name not in value]
    if schema.get("additionalProperties") is False:
        found += [f"{at}: {name} is not known" for name in value if name not in known]
    if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value)):
        found.append(f"{at}: {len(value)} members")
    for name, member in value.items():
        if name in known:
            found += problems(member, known[name], root, f"{at}.{name}")
    return found
