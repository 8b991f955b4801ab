"""Every error poolcast raises on purpose, drawn as one tree.

    PoolcastError
    ├── TransientError            the same call may succeed later: retry
    │   ├── CommitConflictError   another writer moved the table first, again and again
    │   ├── SourceError           the API gave no usable answer this time
    │   ├── ClusterError          the workers of other machines are gone, or hang
    │   ├── StoreAwayError        the object store under the lake did not answer
    │   ├── RegistryAwayError     the model registry did not answer
    │   └── LockLostError         a lock that machines share could not be had, or not be kept
    └── PermanentError            the same call fails again: say what to change
        ├── UsageError            what was asked for makes no sense (exit status 2)
        ├── InputError            what was read is not what it claims to be
        ├── StorageError          the lake cannot hold or give what was asked
        │   └── StorageFullError  the disk is full; what was committed before is intact
        ├── RefusedError          the API refuses the request as such (no such pool, no key)
        ├── RegistryError         the model registry holds not what the ledger says
        └── ServiceError          a server of ours did not start, or its port is taken

A message says what was attempted, what was found (with ``!r``) and what to do.
"""


class PoolcastError(Exception):
    """Root of the tree; the command line prints it without a traceback."""


class TransientError(PoolcastError):
    """The same call may succeed later."""


class CommitConflictError(TransientError):
    """Another writer changed the same slice of a table, and kept doing so for every retry."""


class SourceError(TransientError):
    """The API gave no usable answer this time: it was silent, too slow, overloaded, or answered with nonsense."""


class ClusterError(TransientError):
    """The cluster that computes for us is gone, or gave nothing for too long."""


class StoreAwayError(TransientError):
    """The object store under the lake did not answer, or was too busy to."""


class RegistryAwayError(TransientError):
    """The model registry, or the database under it, did not answer."""


class LockLostError(TransientError):
    """A lock that all machines share could not be had, or was lost while it was needed."""


class PermanentError(PoolcastError):
    """The same call fails again until somebody changes something."""


class UsageError(PermanentError):
    """The request itself makes no sense."""


class InputError(PermanentError):
    """What was read is not what it claims to be."""


class StorageError(PermanentError):
    """The lake cannot hold, or cannot give, what was asked of it."""


class StorageFullError(StorageError):
    """No space is left; what was committed before is intact."""


class RefusedError(PermanentError):
    """The API refuses the request as such: there is no such thing, or the key does not do."""


class RegistryError(PermanentError):
    """The model registry holds something else than the ledger says."""


class ServiceError(PermanentError):
    """A server of ours did not start, or its port is taken."""
