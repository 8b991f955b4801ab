"""A soak: the whole installation for days of a market that runs faster than the clock, with trouble on purpose."""
