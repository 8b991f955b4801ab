"""Drift: has the world moved since the champion learned?

Belongs here: how two samples of pools are compared (`comparison`, `classifier`), what is compared with what (`windows`,
`report`), when it counts (`alarm`). Stays out: who is told, and what is done about it.
"""
