"""What the market told us: kept as told, then parsed.

Belongs here: asking the API within its budget and keeping every answer (`collector` and what it uses), reading answers
(`parse` and `wire*`), reading recordings (`shelf`, `recording`), refusing what is not credible with its reason,
candles, and the simulator that makes recordings with a planted truth. Stays out: what a pool looks like at a moment
(snapshots), and everything learned from it.
"""
