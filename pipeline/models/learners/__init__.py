"""Learners of the outcome: one a file, each behind the same few functions.

Belongs here: fitting one kind of model on a matrix, and answering from plain values that JSON can hold. Stays out:
which rows and columns it sees (`members`), what it is worth, and which kind is chosen (`competition`).

A learner module has `DEFAULTS` (its parameters), `suggest(trial)` (others worth trying), `fit(x, y, weight, seed,
params)` and `load(state, n_features)`. Both give a `states.Fitted`, and what was fitted always answers from its own
state: there is one path, in training as in production, and nothing to be reconciled. Every learner draws from its seed
alone and runs on one thread.
"""
