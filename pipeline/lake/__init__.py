"""Where frames rest: one Delta Lake table per folder, atomic, versioned, durable.

Belongs here: writing and reading whole tables as `pipeline.tables` specifies them, and surviving what disks and
processes do (two writers, a kill, a full disk, a power cut). `store` holds the verbs, `rows` what a frame must be
before it is written, `log` what Delta's own log says about files, `disk` locks, fsync and the error mapping.
Stays out: what any column means, joins of tables (point-in-time or other), schedules of compaction and vacuum.
"""

from pipeline.lake.disk import fsync
from pipeline.lake.store import Commit, Lake

__all__ = ["Commit", "Lake", "fsync"]
