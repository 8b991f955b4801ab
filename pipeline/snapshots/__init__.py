"""Stage `snapshots`: a pool's observed state, on the sampler's schedule."""
