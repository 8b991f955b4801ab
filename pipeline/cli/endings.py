"""What a command says that ends because the operating system refused something.

Belongs here: words for errors that nobody nearer to them had words for. Stays out: our own errors, which bring theirs,
and exit statuses (`pipeline.cli`).
"""

import errno
from typing import Final

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def of_the_system(error: OSError) -> str:
    """What was attempted, what the system said, and what to do.

    >>> of_the_system(OSError(errno.ENOENT, "No such file or directory", "/proc/foo"))
    "could not open or make '/proc/foo': No such file or directory. Give another path; the data folder's is --data-dir \
or POOLCAST_DATA_DIR"
    >>> of_the_system(OSError(errno.ENOSPC, "No space left on device"))
    'could not write: No space left on device. Free space where the output and the data folder lie, and run it \
again'
    """
    said = error.strerror or str(error) or type(error).__name__
    if error.errno in _FULL:
        place = "" if error.filename is None else f" {error.filename!r}"
        return f"could not write{place}: {said}. Free space where the output and the data folder lie, and run it again"
    if error.filename is None:
        return f"could not go on, as the operating system said: {said}"
    return (
        f"could not open or make {error.filename!r}: {said}. Give another path; the data folder's is --data-dir or "
        "POOLCAST_DATA_DIR"
    )
