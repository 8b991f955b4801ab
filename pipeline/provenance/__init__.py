"""What each hour of each table was computed from, so that unchanged hours are not computed again.

An hour's *fingerprint* covers the code and the spec that computed it and the content of every input hour it could
have read. Where the fingerprint on record equals the one that would be written now, computing again could only
give the same rows. Killed half way, the next run finds the finished pieces on record and carries on after them.

An hour whose rows were let go for their age is *expired*. What it was remains on record, so that nothing that was made
from it becomes stale by its going; and what could have read it is never computed again, whatever else changes, for that
would put less in the place of more.

Belongs here: the hash of a stage's code (`code`), the record itself (`on_record`), what an hour's fingerprint is and
which hours are stale (`recipe`), and computing those (`refreshing`). Stays out: what is computed (the stages) and in
which order (the asset graph).
"""

from pipeline.provenance.code import code_of
from pipeline.provenance.on_record import expire, record_hours, rows_on_record, void
from pipeline.provenance.recipe import Input, Recipe, fingerprints, hours_behind, mark, stale_hours, unmarked
from pipeline.provenance.refreshing import PIECE, Refreshed, refresh

__all__ = [
    "PIECE",
    "Input",
    "Recipe",
    "Refreshed",
    "code_of",
    "expire",
    "fingerprints",
    "hours_behind",
    "mark",
    "record_hours",
    "refresh",
    "rows_on_record",
    "stale_hours",
    "unmarked",
    "void",
]
