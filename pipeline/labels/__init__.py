"""Labels: what became of a pool, and of the market, after a decision, and since when we know.

Belongs here: the outcome rule and its thresholds, the path facts beside it (end, peak, trough, barriers), censoring,
what became of a network's whole market (`market*`), and the comparison with labels that others made. Stays out: what a
model may know at the decision (features), which labels a training set may use (models), and where bars and snapshots
come from.
"""
