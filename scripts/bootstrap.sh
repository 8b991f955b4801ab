#!/usr/bin/env bash
# Brings .venv to what a lock says, and does nothing where it already is: bootstrap.sh runtime|test
#
# A stamp in .venv holds the hash of what was installed. It is written last, so an installation that was killed has
# none and is done over from nothing. The lock on this very file lets a second make wait for the first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

kind=${1:-runtime}
venv=.venv

say() { printf 'poolcast: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

sha256() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -c1-64; }
lock_of() { if [ "$1" = test ]; then echo requirements-test.lock; else echo requirements.lock; fi; }
# The folder is part of the key: an environment does not survive being moved.
key_of() { { cat "$(lock_of "$1")" pyproject.toml; pwd; } | sha256; }
stamp_of() { echo "$venv/.poolcast-$1"; }
is_stamped() { [ -f "$(stamp_of "$1")" ] && [ "$(cat "$(stamp_of "$1")")" = "$(key_of "$1")" ]; }
# The test environment holds everything the runtime one does.
is_ready() { [ -x "$venv/bin/python" ] && { is_stamped test || { [ "$kind" = runtime ] && is_stamped runtime; }; }; }

is_312() { [ -n "$1" ] && "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' >/dev/null 2>&1; }

# Prints the first Python 3.12 that runs (a shim may carry the name and lead nowhere).
find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3.12 python3 python; do
        if is_312 "$candidate"; then "$candidate" -c 'import sys; print(sys.executable)'; return; fi
    done
    if command -v uv >/dev/null; then
        candidate=$(uv python find --system --no-python-downloads 3.12 2>/dev/null || true)
        if is_312 "$candidate"; then echo "$candidate"; return; fi
    fi
    return 1
}

# Prints a uv to install with: the one on PATH, or one that pip puts into the environment by its hash.
find_uv() {
    if command -v uv >/dev/null && uv --version >/dev/null 2>&1; then command -v uv; return; fi
    if [ ! -x "$venv/bin/uv" ]; then
        local pinned="$venv/.uv.lock"
        awk '/^[^ #]/ { inside = /^uv==/ } inside' requirements.lock >"$pinned"
        "$python" -m pip --python "$venv/bin/python" install --quiet --require-hashes --no-deps -r "$pinned" >&2 ||
            fail "pip could not bring uv into $venv (see above); with uv on PATH, pip is not needed"
    fi
    echo "$venv/bin/uv"
}

case $kind in runtime | test) ;; *) fail "bootstrap.sh takes 'runtime' or 'test', not '$kind'" ;; esac
if is_ready; then exit 0; fi
python=$(find_python) ||
    fail "needs Python 3.12 and found none (tried \$PYTHON, python3.12, python3, uv): install it, or say make PYTHON=/path/to/python3.12"

exec 9<scripts/bootstrap.sh
"$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
if is_ready; then exit 0; fi

# Who has had the test tools keeps them.
if [ -f "$(stamp_of test)" ]; then kind=test; fi
if [ -e "$venv/.installing" ] || ! is_312 "$venv/bin/python"; then rm -rf "$venv"; fi
if [ ! -d "$venv" ]; then
    "$python" -m venv --without-pip "$venv" || fail "$python could not make $venv (see above)"
fi
touch "$venv/.installing"
rm -f "$(stamp_of runtime)" "$(stamp_of test)"
uv=$(find_uv)
say "installing $(grep -c '^[a-z0-9].*==' "$(lock_of "$kind")") packages into $venv (once)"
export VIRTUAL_ENV=$PWD/$venv UV_PYTHON_DOWNLOADS=never
"$uv" pip sync --quiet --require-hashes "$(lock_of "$kind")" || fail "the installation failed (see above); nothing is left half done: run it again"
"$venv/bin/uv" pip install --quiet --no-deps --no-build-isolation --editable . || fail "the project itself could not be installed (see above)"
key_of "$kind" >"$(stamp_of "$kind").new"
mv "$(stamp_of "$kind").new" "$(stamp_of "$kind")"
rm -f "$venv/.installing"
