"""What each model said about a pool, and whether it was in a position to say it."""
