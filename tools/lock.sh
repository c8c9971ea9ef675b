#!/bin/sh
# Resolve pyproject.toml into requirements/*.txt: hashes, every platform, no index and no address.
# dev.txt holds everything and is resolved first; the smaller files take its versions, so that
# `make demo` and `make test` can share one .venv. One version of a package for every Python (fewest):
# else numpy, and with it the types that mypy sees, would differ from machine to machine. Arguments go to uv, such as --upgrade.
set -eu
cd "$(dirname "$0")/.."

compile() {
    .venv/bin/uv pip compile --quiet --universal --generate-hashes --no-header \
        --no-emit-index-url --no-emit-find-links --python-version 3.11 --fork-strategy fewest "$@"
}

compile requirements/build.in -o requirements/build.txt "$@"
compile pyproject.toml --extra cpu --extra demo --extra dev -o requirements/dev.txt \
    -c requirements/build.txt "$@"
compile pyproject.toml --extra cpu --extra demo -o requirements/demo.txt \
    -c requirements/dev.txt --no-annotate "$@"
compile pyproject.toml --extra cpu -o requirements/run-cpu.txt \
    -c requirements/dev.txt --no-annotate "$@"
# What a release holds beside it; gpu is in no larger lock, since it installs the same package as cpu.
compile pyproject.toml --extra signed -o requirements/run-signed.txt \
    -c requirements/dev.txt --no-annotate "$@"
compile pyproject.toml --extra gpu -o requirements/run-gpu.txt \
    -c requirements/dev.txt --no-annotate "$@"
# Environments of their own, so no version is shared.
compile requirements/ansible.in -o requirements/ansible.txt --no-annotate "$@"
compile requirements/release.in -o requirements/release.txt --no-annotate "$@"

if grep -n '://' requirements/*.txt; then
    echo "lock: a lock file names an address; none may" >&2
    exit 1
fi
