"""Where frames rest: one Delta Lake table a folder, here or on an object store, atomic, versioned, durable.

Belongs here: writing and reading whole tables as `pipeline.tables` specifies them, and surviving what disks and
processes do (two writers, a kill, a full disk, a power cut). `store` holds the verbs, `plans` what each changes,
`commits` how a change becomes durable, `rows` what a frame must be before it is written, `files` the data files and
their statistics, `delta` the handle that opens and commits, `log` what Delta's own log says, `upkeep` what nobody needs
any more. Where files lie is a `place`: a `folder` (`disk` has its system calls) or a `bucket` of an object store
(`locks` across machines, `failures` in words). `shapes` reads what older code wrote, `migrate` and `backup` bring it
along and back.
`query` is SQL to look at it all.
Stays out: what any column means, joins of tables (point-in-time or other), schedules of compaction and vacuum.
"""

from pipeline.lake.disk import fsync
from pipeline.lake.store import Commit, Lake

__all__ = ["Commit", "Lake", "fsync"]
