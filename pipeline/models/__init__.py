"""Models: a frozen training set, a model fitted on it, and the evidence of what it is worth.

Belongs here: the point-in-time join, splits, weights, leak canaries, the learner, baselines, metrics and plots.
Stays out: the registry (`pipeline.promotion`), scoring new snapshots (`pipeline.predictions`), reading and writing.
"""
