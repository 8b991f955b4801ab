"""What is asked of the file system as a whole: to spread folders out, and to bring everything to the disk.

Belongs here: calls that Linux knows and Python has no name for, and what is done where they are missing. Stays out:
single files (`files`), and when an export is flushed (`store`).
"""

import ctypes
import fcntl
import os
from array import array
from pathlib import Path
from typing import Final

# FS_IOC_GETFLAGS, FS_IOC_SETFLAGS and FS_TOPDIR_FL of linux/fs.h.
_GET_FLAGS: Final = 0x80086601
_SET_FLAGS: Final = 0x40086602
_TOP_FOLDER: Final = 0x00020000


def spread_out(root: Path) -> None:
    """Have ext4 put every export into another part of the disk.

    Where as many files have just been removed, it can create them slowly: 14,000 were measured to take 6 s there, and
    0.3 s elsewhere. The flag (chattr +T) says that subfolders have nothing to do with one another; a new name each
    time leads to a new part.
    """
    handle = os.open(root, os.O_RDONLY | os.O_CLOEXEC)
    try:
        flags = array("L", [0])
        fcntl.ioctl(handle, _GET_FLAGS, flags, True)
        if not flags[0] & _TOP_FOLDER:
            fcntl.ioctl(handle, _SET_FLAGS, array("L", [flags[0] | _TOP_FOLDER]))
    except OSError:
        # Another file system: it has no such flag and no such need.
        return
    finally:
        os.close(handle)


def flush(root: Path) -> None:
    """Bring all that was written to the file system of a folder to the disk.

    Raises:
        OSError: a write failed.
    """
    # One flush of the file system costs half a second where 39,000 single ones cost twelve. Python has no name for
    # this call; unlike os.sync it leaves other disks alone and says when a write failed.
    handle = os.open(root, os.O_RDONLY | os.O_CLOEXEC)
    try:
        syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
        if syncfs is None:
            os.sync()
        elif syncfs(handle):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(root))
    finally:
        os.close(handle)


def fsync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
