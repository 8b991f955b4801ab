"""Forecasts of pools' returns, learned on QLib bins.

Belongs here: rows from a provider directory, targets, the dataset, the kinds of model, their choice and their figures.
Stays out: writing bins, the registry, tables, the clock. QLib is imported inside functions only: it takes seconds.
"""
