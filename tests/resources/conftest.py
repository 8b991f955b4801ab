import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """A folder for servers: under root they run as another user, whom pytest's own tmp_path shuts out."""
    folder = Path(tempfile.mkdtemp(prefix="poolcast-test-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
