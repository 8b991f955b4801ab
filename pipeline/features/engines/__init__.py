"""How inputs are computed: over history (`from_*`, and what they stand on) and event by event (`online_*`)."""
