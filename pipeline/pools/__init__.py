"""What the market told us: kept as told, then parsed.

Belongs here: reading a recording, refusing what is not credible (with its reason), candles, and the simulator
that makes recordings with a planted truth. Stays out: what a pool looks like at a moment (snapshots), and
everything learned from it.
"""
