#!/usr/bin/env python3
"""Makes the packages that are text about other files: npm's, and Homebrew's formula.

Version, licence and addresses come from Cargo.toml, so that they stand in one place. Only the standard library.

    generate.py npm OUT ARCHITECTURE=BINARY...     folders to `npm pack`
    generate.py homebrew DIST                      the formula, of the archives in DIST, on stdout
"""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAME = "osquery-live-query"
# Each architecture as Rust, npm and Homebrew call it.
NPM = {"x86_64": "x64", "aarch64": "arm64"}
HOMEBREW = {"x86_64": "on_intel", "aarch64": "on_arm"}


def about() -> dict[str, str]:
    """What Cargo.toml says of the package."""
    command = ["cargo", "metadata", "--no-deps", "--format-version=1", "--offline"]
    packages = json.loads(subprocess.check_output(command, cwd=HERE))["packages"]
    return next(package for package in packages if package["name"] == NAME)


def releases(package: dict[str, str]) -> str:
    """Where the files of dist/ are put: beside the tag, as forges name it."""
    return f"{package['repository']}/releases/download/v{package['version']}"


def npm(out: Path, binaries: dict[str, Path]) -> None:
    """A package of each platform with its binary, and the one that starts it."""
    package = about()
    common = {
        "version": package["version"],
        "description": package["description"],
        "keywords": package["keywords"],
        "homepage": package["homepage"],
        "repository": {"type": "git", "url": f"git+{package['repository']}.git"},
        "license": package["license"],
    }
    optional = {}
    for arch, binary in binaries.items():
        name = f"{NAME}-linux-{NPM[arch]}"
        optional[name] = package["version"]
        description = f"The program of {NAME} for Linux on {arch}; install {NAME} instead"
        write(out / name, {"name": name, **common, "description": description, "os": ["linux"], "cpu": [NPM[arch]]})
        (out / name / "README.md").write_text(f"# {name}\n\n{description}.\n")
        shutil.copy(binary, out / name / NAME)
        (out / name / NAME).chmod(0o755)
    main = {"name": NAME, **common, "bin": {NAME: f"{NAME}.js"}, "engines": {"node": ">=18"}}
    write(out / NAME, {**main, "optionalDependencies": optional})
    shutil.copy(HERE / "npm" / f"{NAME}.js", out / NAME)
    readme = (HERE / "npm" / "README.md").read_text().replace("@REPOSITORY@", package["repository"])
    (out / NAME / "README.md").write_text(readme)


def write(folder: Path, package: dict[str, object]) -> None:
    folder.mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps(package, indent=2) + "\n")
    shutil.copy(HERE.parent / "LICENSE", folder)


def homebrew(dist: Path) -> str:
    package = about()
    stem = f"{NAME}-{package['version']}"

    def digest(name: str) -> str:
        return hashlib.sha256((dist / name).read_bytes()).hexdigest()

    linux = []
    for arch, block in HOMEBREW.items():
        name = f"{stem}-{arch}-unknown-linux-musl.tar.gz"
        if (dist / name).exists():
            lines = [f"{block} do", f'  url "{releases(package)}/{name}"', f'  sha256 "{digest(name)}"', "end"]
            linux.append("\n".join("    " + line for line in lines))
    source = f"{stem}-source.tar.gz"
    values = {
        "HOMEPAGE": package["homepage"],
        "VERSION": package["version"],
        "LICENSE": package["license"],
        "RELEASES": releases(package),
        "SOURCE": source,
        "SOURCE_SHA256": digest(source),
        "LINUX": "\n".join(linux),
    }
    formula = (HERE / "homebrew" / f"{NAME}.rb").read_text()
    for key, value in values.items():
        formula = formula.replace(f"@{key}@", value)
    return formula


def main(arguments: list[str]) -> None:
    match arguments:
        case ["npm", out, *binaries] if binaries:
            named = (binary.split("=", 1) for binary in binaries)
            npm(Path(out), {arch: Path(path) for arch, path in named})
        case ["homebrew", dist]:
            print(homebrew(Path(dist)), end="")
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
