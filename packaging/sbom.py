#!/usr/bin/env python3
"""Writes what the released binary is made of, as CycloneDX 1.6: `sbom.py ARCHITECTURE=BINARY...`, on stdout.

Crates are those that cargo links into it (no tests, no build scripts), with the digests of Cargo.lock. SQLite, musl and
Rust's standard library are in the binary, too, though no crate says so. Times and the serial number follow from the
commit (SOURCE_DATE_EPOCH) and the content. Only the standard library.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
import uuid
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAME = "osquery-live-query"
TARGET = "x86_64-unknown-linux-musl"


def output(*command: str) -> str:
    return subprocess.check_output(command, cwd=ROOT, text=True)


def linked(metadata: dict) -> dict[str, list[str]]:
    """The ids of all packages in the binary, each with those that it names.

    `cargo tree` knows which features are on for the binary alone; the graph is that of `cargo metadata`.
    """
    tree = output("cargo", "tree", "--locked", "-p", NAME, "-e", "normal", "--target", TARGET, "--prefix", "none")
    names = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    wanted = {p["id"] for p in metadata["packages"] if (p["name"], f"v{p['version']}") in names}
    proc_macros = {p["id"] for p in metadata["packages"] if any("proc-macro" in t["kind"] for t in p["targets"])}
    graph = {}
    for node in metadata["resolve"]["nodes"]:
        normal = [d["pkg"] for d in node["deps"] if any(kind["kind"] is None for kind in d["dep_kinds"])]
        if node["id"] in wanted:
            graph[node["id"]] = [package for package in normal if package in wanted - proc_macros]
    root = next(p["id"] for p in metadata["packages"] if p["name"] == NAME)
    reached, left = set(), [root]
    while left:  # what only a macro uses is not linked
        package = left.pop()
        if package not in reached:
            reached.add(package)
            left += graph[package]
    return {package: graph[package] for package in sorted(reached)}


def purl(package: dict) -> str:
    return f"pkg:cargo/{package['name']}@{package['version']}"


def crate(package: dict, digests: dict[tuple[str, str], str]) -> dict:
    component = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "purl": purl(package),
    }
    if package["description"]:
        component["description"] = " ".join(package["description"].split())
    if digest := digests.get((package["name"], package["version"])):
        component["hashes"] = [{"alg": "SHA-256", "content": digest}]
    if package["license"]:
        component["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if package["repository"]:
        component["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return component


def within(metadata: dict) -> list[dict]:
    """What is in the binary and is no crate."""
    sqlite = next(p for p in metadata["packages"] if p["name"] == "libsqlite3-sys")
    header = (Path(sqlite["manifest_path"]).parent / "sqlite3" / "sqlite3.h").read_text()
    libc = Path(output("rustc", "--print", "sysroot").strip(), "lib/rustlib", TARGET, "lib/self-contained/libc.a")
    rustc = output("rustc", "--version").split()[1]
    versions = {
        "sqlite": (re.search(r'#define SQLITE_VERSION +"([^"]+)"', header)[1], "blessing"),
        "musl": (re.search(rb"\0(1\.\d+\.\d+)\0", libc.read_bytes())[1].decode(), "MIT"),
        "rust-std": (rustc, "MIT OR Apache-2.0"),
    }
    components = []
    for name, (version, licence) in versions.items():
        component = {
            "type": "library",
            "bom-ref": f"pkg:generic/{name}@{version}",
            "name": name,
            "version": version,
            "purl": f"pkg:generic/{name}@{version}",
            "licenses": [{"expression": licence}],
        }
        if name == "sqlite":
            component["cpe"] = f"cpe:2.3:a:sqlite:sqlite:{version}:*:*:*:*:*:*:*"
        components.append(component)
    return components


def main(binaries: dict[str, Path]) -> None:
    command = ("cargo", "metadata", "--locked", "--format-version=1", "--filter-platform", TARGET)
    metadata = json.loads(output(*command))
    packages = {package["id"]: package for package in metadata["packages"]}
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    digests = {(p["name"], p["version"]): p["checksum"] for p in lock if "checksum" in p}
    graph = linked(metadata)
    crates = {package: crate(packages[package], digests) for package in graph}
    root = next(package for package in graph if packages[package]["name"] == NAME)
    application = {**crates.pop(root), "type": "application"}
    application["components"] = [
        {
            "type": "file",
            "name": f"{NAME} ({arch}-unknown-linux-musl)",
            "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}],
        }
        for arch, path in binaries.items()
    ]
    others = within(metadata)
    dependencies = [
        {"ref": purl(packages[package]), "dependsOn": sorted(purl(packages[needed]) for needed in graph[package])}
        for package in graph
    ]
    of_root = next(entry for entry in dependencies if entry["ref"] == application["bom-ref"])
    of_root["dependsOn"] += [component["bom-ref"] for component in others if component["name"] != "sqlite"]
    of_sqlite = next(entry for entry in dependencies if entry["ref"].startswith("pkg:cargo/libsqlite3-sys@"))
    of_sqlite["dependsOn"] += [component["bom-ref"] for component in others if component["name"] == "sqlite"]
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), timezone.utc).isoformat(),
            "tools": {"components": [{"type": "application", "name": "cargo", "version": output("cargo", "-V").split()[1]}]},
            "component": application,
        },
        "components": [*crates.values(), *others],
        "dependencies": dependencies,
    }
    content = json.dumps(document, sort_keys=True)
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, content)}"
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    named = (argument.split("=", 1) for argument in sys.argv[1:])
    main({arch: Path(path) for arch, path in named})
