#!/usr/bin/env bash
# Resolves pyproject.toml into the locks, every file of every package by hash, without a download address:
# where packages come from is the installing machine's business. Versions already locked stay unless UPGRADE=1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
uv=$(command -v uv || echo .venv/bin/uv)

compile() {
    "$uv" pip compile --quiet --generate-hashes --python-platform linux --python-version 3.12 --no-header --no-annotate \
        --no-emit-index-url --no-emit-find-links ${UPGRADE:+--upgrade} "$@"
}

compile pyproject.toml --output-file requirements.lock
compile pyproject.toml --extra test --constraints requirements.lock --output-file requirements-test.lock
compile pyproject.toml --extra dask --constraints requirements.lock --output-file requirements-dask.lock
if grep -nE '://|--(index|extra-index|find-links)|(^|[ =])/' requirements.lock requirements-test.lock requirements-dask.lock; then
    echo 'poolcast: the locks above name an address or a path; nothing that installs from them should' >&2
    exit 1
fi
