"""Stage `features`: what a model may know of a pool at a time."""
