"""The watch over data and models: is the data sound (`quality`), has the world moved (`drift`), who is told (`alerts`).

Stays out: what a single row may hold (`pipeline.expectations`), who is in charge (`pipeline.promotion`).
"""
