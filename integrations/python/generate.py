#!/usr/bin/env python3
"""Writes `models.py` from the JSON Schemas, so that the types of Python are those of the binary.

`generate.py` writes it, `generate.py --check` fails where it is not what the schemas say.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SCHEMAS = HERE.parent.parent / "schemas"
TARGET = HERE / "src" / "osquery_live_query" / "models.py"

Schema = dict[str, Any]
Make = Callable[[str], str]
SIMPLE = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}

HEAD = '''"""What the binary writes, as types. Made by `generate.py` from the JSON Schemas: do not edit.

A key that a newer binary has and this module does not know is left out of the types; `raw` of a
document has all of them.
"""

# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Row = dict[str, str | int | float | bool | None]
"""One row: osquery's columns, values as osquery sent them (nearly always strings)."""
'''


def plain(got: str) -> str:
    """Nothing is made of it."""
    return got


def class_name(key: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in key.split("_"))


class Module:
    """The classes of one or more schemas, each after those that it names."""

    def __init__(self) -> None:
        self.classes: dict[str, str] = {}

    def add_document(self, name: str, schema: Schema, prefix: str = "") -> None:
        self.defs: Schema = schema.get("$defs", {})
        self.prefix = prefix
        self.add(name, schema, keeps_raw=True)

    def resolve(self, schema: Schema) -> tuple[str | None, Schema]:
        if "$ref" in schema:
            key = schema["$ref"].rsplit("/", 1)[1]
            # Every document has the same.
            if key == "error" and "Error" in self.classes:
                return "Error", self.defs[key]
            return self.prefix + class_name(key), self.defs[key]
        return None, schema

    def type_of(self, owner: str, key: str, schema: Schema) -> tuple[str, Make]:
        """The annotation, and what makes a value of an expression for its JSON."""
        named, schema = self.resolve(schema)
        if named == "Rows":
            return "list[Row]", lambda got: f"list({got})"
        if "oneOf" in schema:
            rest = [one for one in schema["oneOf"] if one != {"type": "null"}]
            kind, make = self.type_of(owner, key, rest[0])
            return f"{kind} | None", lambda got: f"None if {got} is None else {make(got)}"
        if "enum" in schema:
            words = [json.dumps(word) for word in schema["enum"] if word is not None]
            return f"Literal[{', '.join(words)}]" + (" | None" if None in schema["enum"] else ""), plain
        if "const" in schema:
            return ("bool" if schema["const"] is True else f"Literal[{json.dumps(schema['const'])}]"), plain
        kind = schema.get("type")
        if isinstance(kind, list):
            known = [SIMPLE.get(one, "") for one in kind]
            return (" | ".join(known) if all(known) else "Any"), plain
        if kind == "array":
            inner, make = self.type_of(owner, key, schema["items"])
            if make is plain:
                return f"list[{inner}]", lambda got: f"list({got})"
            return f"list[{inner}]", lambda got: f"[{make('item')} for item in {got}]"
        if kind == "object" and schema.get("properties"):
            name = named or self.prefix + owner + class_name(key)
            self.add(name, schema)
            return name, lambda got: f"{name}.from_json({got})"
        if kind == "object":
            values = schema.get("additionalProperties")
            inner, make = self.type_of(owner, key, values) if isinstance(values, dict) else ("Any", plain)
            if make is plain:
                return f"dict[str, {inner}]", lambda got: f"dict({got})"
            return f"dict[str, {inner}]", lambda got: f"{{key: {make('item')} for key, item in {got}.items()}}"
        return SIMPLE.get(kind, "Any"), plain

    def add(self, name: str, schema: Schema, *, keeps_raw: bool = False) -> None:
        if name in self.classes:
            return
        owner = "" if keeps_raw else name.removeprefix(self.prefix)
        required = set(schema.get("required", []))
        # Those without a default go first.
        first: list[str] = []
        later: list[str] = []
        made: list[str] = []
        for key, value in schema["properties"].items():
            if key == "type" and "const" in value:
                continue
            kind, make = self.type_of(owner, key, value)
            _, resolved = self.resolve(value)
            about = [text.rstrip(".") for one in ("title", "description") if (text := resolved.get(one))]
            lines = first if key in required else later
            got = f'value["{key}"]' if key in required else f'value.get("{key}")'
            if key in required:
                lines.append(f"    {key}: {kind}")
                made.append(f"{key}={make(got)}")
            elif resolved.get("const") is True:
                lines.append(f"    {key}: bool = False")
                made.append(f'{key}=value.get("{key}", False)')
            elif kind.startswith(("list[", "dict[")):
                empty = "[]" if kind.startswith("list[") else "{}"
                lines.append(f"    {key}: {kind} = field(default_factory={kind[:4]})")
                made.append(f'{key}={make(f"""value.get("{key}", {empty})""")}')
            else:
                optional = kind if kind.endswith("None") or kind == "Any" else f"{kind} | None"
                lines.append(f"    {key}: {optional} = None")
                whole = got if make is plain else f'{make(f"""value["{key}"]""")} if "{key}" in value else None'
                made.append(f"{key}={whole}")
            if about:
                lines.append(quoted(". ".join(about)))
        if keeps_raw:
            later.append("    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)")
            later.append('    """The JSON that was read, whole."""')
            made.append("raw=value")
        title = (schema.get("title") or schema.get("description") or name).rstrip(".") + "."
        lines = ["@dataclass(frozen=True)", f"class {name}:", f'    """{title}"""', "", *first, *later]
        lines += ["", "    @classmethod", f"    def from_json(cls, value: Mapping[str, Any]) -> {name}:"]
        lines.append('        """Reads what the binary wrote."""')
        lines += ["        return cls(", *(f"            {one}," for one in made), "        )"]
        self.classes[name] = "\n".join(lines)


def quoted(text: str) -> str:
    text = text.rstrip(".") + "."
    text = text.replace("\\", "\\\\").replace('"""', "'''")
    return textwrap.indent(f'"""{text}"""', "    ")


def generated() -> str:
    module = Module()
    output = json.loads((SCHEMAS / "output.schema.json").read_text())
    module.add_document("Document", output)
    for key in ("hostLine", "summaryLine"):
        module.add(class_name(key), output["$defs"][key], keeps_raw=True)
    dry_run = json.loads((SCHEMAS / "dry-run.schema.json").read_text())
    module.add_document("DryRunReport", dry_run, prefix="DryRun")
    lines = json.loads((SCHEMAS / "event.schema.json").read_text())
    for name, key, prefix in (("Event", "event", "Event"), ("CollectSummary", "summary", "Collect")):
        module.add_document(name, {**lines["$defs"][key], "$defs": lines["$defs"]}, prefix=prefix)
    return HEAD + "\n\n" + "\n\n\n".join(module.classes.values()) + "\n"


def main() -> int:
    text = generated()
    if sys.argv[1:] == ["--check"]:
        if TARGET.read_text() != text:
            print("models.py is not what the schemas say: run integrations/python/generate.py", file=sys.stderr)
            return 1
        return 0
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
