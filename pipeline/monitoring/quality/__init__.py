"""Is the data sound? What is missing, implausible, doubled, late, unseen, and a score from 0 to 100 over all of it.

Belongs here: measuring a frame, and what follows from the reports in a row. Stays out: what a single row may hold
(`pipeline.expectations`), and whether the world has moved (`pipeline.monitoring.drift`): a moved world is sound data.
"""
