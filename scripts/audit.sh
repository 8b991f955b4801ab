#!/usr/bin/env bash
# Looks up every pinned package in the index's list of known vulnerabilities: 1 where one is known, 0 where none is.
# Where the list is out of reach (a mirror seldom has it) it says so and ends with 0, or with 3 if AUDIT_REQUIRED=1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
uv=$(command -v uv || echo .venv/bin/uv)
found=$(mktemp)
trap 'rm -f "$found"' EXIT

# In an environment of its own: what audits is not among what is audited.
status=0
"$uv" tool run --from pip-audit==2.10.1 pip-audit --strict --disable-pip --require-hashes --no-deps \
    --progress-spinner off --timeout 20 --format json --output "$found" \
    -r requirements.lock -r requirements-test.lock "$@" || status=$?
# It writes its answer only where it came to one.
if [ ! -s "$found" ]; then
    echo "audit: skipped, the list of vulnerabilities is out of reach from here (see above)" >&2
    exit $((${AUDIT_REQUIRED:-0} ? 3 : 0))
fi
cat "$found"
exit "$status"
