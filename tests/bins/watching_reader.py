"""A reader that looks at a directory again and again while it is written, and says if it ever saw a mixture.

Usage: watching_reader.py DIRECTORY ID...; it ends when its standard input is closed, and prints how often it looked
and how often the export it held was no longer in force. An ID is an export that may be seen.
"""

import hashlib
import select
import sys
from itertools import count
from pathlib import Path

from pipeline.bins.export import reading
from pipeline.bins.instruments import INSTRUMENTS_FILE, read_identities
from pipeline.bins.manifest import (
    INSTRUMENTS_PATH,
    calendar_path,
    export_id,
    instruments_text,
    manifest_path,
    read_manifest,
)

FREQ = "60min"


def assert_whole(root: Path) -> None:
    """Calendar, instruments, map, manifest and every feature file belong together, and are all there is."""
    manifest = read_manifest((root / manifest_path(FREQ)).read_bytes(), str(root))
    paths = [calendar_path(FREQ), manifest_path(FREQ), INSTRUMENTS_PATH, INSTRUMENTS_FILE]
    assert export_id({path: (root / path).read_bytes() for path in paths}) == root.name
    assert (root / INSTRUMENTS_PATH).read_bytes() == instruments_text([manifest])
    assert (root / calendar_path(FREQ)).read_bytes() == manifest.calendar()
    assert sorted(read_identities(root)) == manifest.rows["name"].to_list()
    for name, sha256 in manifest.rows.select("name", "sha256").iter_rows():
        digest = hashlib.sha256()
        for path in manifest.paths(name):
            digest.update((root / path).read_bytes())
        assert digest.hexdigest() == sha256, name
        paths += manifest.paths(name)
    assert sorted(paths) == sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


if __name__ == "__main__":
    directory, legal = Path(sys.argv[1]), set(sys.argv[2:])
    n_overtaken = 0
    for n in count(1):
        with reading(directory) as root:
            assert root.name in legal, root
            for _ in range(n % 4):
                assert_whole(root)
            n_overtaken += directory.resolve() != root
        if select.select([sys.stdin], [], [], 0)[0]:
            break
    sys.stdout.write(f"{n} {n_overtaken}")
