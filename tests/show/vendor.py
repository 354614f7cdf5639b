#!/usr/bin/env python3
"""Writes ocsf-1.8.0.schema.json and ecs-9.4.0.txt again, from packages that hold the published schemas.

  tests/show/vendor.py          # needs Python 3.10+ with pip, and npm

OCSF: `ocsf-json-schema` 1.2.0 (PyPI, MIT), which holds OCSF's own export of 1.8.0 (Apache-2.0) and makes a
JSON Schema of a class. ECS: `@elastic/ecs` 9.4.0 (npm, Apache-2.0), which holds the fields of ECS 9.4.0.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
OCSF = ("ocsf-json-schema", "1.2.0", "1.8.0")
# Classes that are written: `show` and `collect` write rows, `collect` hosts and reports that are full.
CLASSES = {
    "evidence_info": (5040, ""),
    "inventory_info": (5001, "inventory-info."),
    "application_error": (6008, "application-error."),
}
ECS = ("@elastic/ecs", "9.4.0")
# Field sets that `show` writes to; the whole of ECS has 2,600 fields.
SETS = {
    "@timestamp", "message", "ecs", "event", "host", "process", "user", "file", "network", "source",
    "destination", "registry", "service", "trace", "error", "related",
}


def untitled(value):
    """Titles take a third of the text, and say nothing that a validator reads."""
    if isinstance(value, dict):
        return {k: untitled(v) for k, v in value.items() if not (k == "title" and isinstance(v, str))}
    return [untitled(v) for v in value] if isinstance(value, list) else value


def ocsf(folder):
    name, package, version = OCSF
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, f"{name}=={package}"],
        check=True,
    )
    sys.path.insert(0, folder)
    from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

    whole = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=version))
    for name_of_class, (number, part) in CLASSES.items():
        schema = {
            "$comment": f"OCSF {version}, class {number}, Apache-2.0, from {name} {package}; written by vendor.py",
            **untitled(whole.get_class_schema(name_of_class)),
        }
        schema["$defs"] = dict(sorted(schema["$defs"].items()))
        text = json.dumps(schema, separators=(",", ":"), ensure_ascii=False)
        # A definition a line, so that a new version can be read as a difference.
        for definition in schema["$defs"]:
            text = text.replace(f'"{definition}":{{"type":"object"', f'\n"{definition}":{{"type":"object"', 1)
        (HERE / f"ocsf-{version}.{part}schema.json").write_text(text + "\n")


def ecs(folder):
    name, version = ECS
    subprocess.run(["npm", "install", "--silent", "--prefix", folder, f"{name}@{version}"], check=True)
    script = 'console.log(JSON.stringify(require("@elastic/ecs").EcsFlat))'
    fields = json.loads(subprocess.run(["node", "-e", script], cwd=folder, check=True, capture_output=True).stdout)
    lines = [f"# ECS {version}, Apache-2.0, from {name} {version}; written by vendor.py: field, type, array, values"]
    for field in sorted(fields):
        if field.split(".")[0] not in SETS:
            continue
        about = fields[field]
        array = "array" if "array" in about.get("normalize", []) else "-"
        values = ",".join(value["name"] for value in about.get("allowed_values", [])) or "-"
        lines.append(f"{field} {about['type']} {array} {values}")
    (HERE / f"ecs-{version}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        ocsf(folder)
        ecs(folder)
