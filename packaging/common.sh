# What packaging/build, test and release share; sourced by them, from the repository's folder.
NAME=osquery-live-query
ROOT=$PWD
VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
DIST=${DIST:-$PWD/dist}
ARCHITECTURES=${ARCHITECTURES:-x86_64 aarch64}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
# Where cargo-deb and cargo-generate-rpm look, as Cargo.toml says.
STAGE=$PWD/target/packaging
TOOLS=${PACKAGING_TOOLS:-$CARGO_TARGET_DIR/packaging-tools}
# The commit's time is that of every file in every package.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH TZ=UTC LC_ALL=C PATH="$TOOLS/bin:$TOOLS/venv/bin:$PATH"
umask 022
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

binary() { # an architecture: where its binary is
    echo "$CARGO_TARGET_DIR/$1-unknown-linux-musl/release/$NAME"
}

oci_name() { # an architecture as containers call it
    case $1 in x86_64) echo amd64 ;; aarch64) echo arm64 ;; *) echo "$1" ;; esac
}

tarred() { # a folder, then what of it: a tar that does not tell when, where and by whom it was made
    tar --sort=name --format=ustar --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -C "$@" -cf -
}

# Runs a build for an architecture's musl: linked by rustc's own linker against the musl that it brings, C compiled
# by zig. No path of this machine gets into what it makes.
statically() {
    local arch=$1 cargo_home=${CARGO_HOME:-$HOME/.cargo} flags folder target
    shift
    target=$arch-unknown-linux-musl
    flags="--remap-path-prefix=$CARGO_TARGET_DIR=/build/target"$'\x1f'"--remap-path-prefix=$ROOT=/build"
    for folder in "$cargo_home"/registry/src/*/; do
        flags+=$'\x1f'"--remap-path-prefix=${folder%/}=/crates"
    done
    env "CARGO_ENCODED_RUSTFLAGS=$flags" CARGO_INCREMENTAL=0 \
        "CARGO_TARGET_$(tr a-z- A-Z_ <<< "$target")_LINKER=rust-lld" \
        "CC_${target//-/_}=$ROOT/packaging/musl/$arch-cc" "AR_${target//-/_}=$ROOT/packaging/musl/ar" "$@"
}

have() { type -P "$1" > /dev/null; }
# The tools of a part, at the versions that were tried, unless the PATH has them.
install_tools() {
    local tool
    for tool in "$@"; do
        case $tool in
            zig) have python-zig || in_venv ziglang==0.17.1 ;;
            maturin) have maturin || in_venv maturin==1.16.0 ;;
            # Not from the PATH: what it brings is a file, of this version.
            certifi) in_venv certifi==2026.10.19.post1 ;;
            cargo-deb) have cargo-deb || cargo install -q --locked --root "$TOOLS" cargo-deb@3.8.0 ;;
            cargo-generate-rpm) have cargo-generate-rpm || cargo install -q --locked --root "$TOOLS" cargo-generate-rpm@0.21.1 ;;
        esac
    done
}
# A command of Debian's: its package, and its name where that is another.
need() {
    have "${2:-$1}" || { apt-get update -q && apt-get install -qy --no-install-recommends "$1"; } > "$WORK/apt.log" 2>&1 \
        || { cat "$WORK/apt.log"; echo "packaging: ${2:-$1} is needed" >&2; return 1; }
}
in_venv() {
    [ -d "$TOOLS/venv" ] || python3 -m venv "$TOOLS/venv"
    "$TOOLS/venv/bin/pip" install -q --disable-pip-version-check "$@"
}
