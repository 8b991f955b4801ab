"""The library of poolcast: plain functions over frames, one package a stage."""

import polars as pl

# The streaming engine adds floats up in another order each time, so the last bit of a sum would differ from run to run
# and with it every content hash. Memory is bounded by the pieces we work in, not by the engine.
pl.Config.set_engine_affinity("in-memory")
