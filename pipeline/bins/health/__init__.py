"""Is a QLib provider directory sound, whoever wrote it? The entry is `check`, the vocabulary `spec`.

Belongs here: reading a directory as a stranger would, and judging it. Stays out: writing one (the modules beside this
package), and counting what it holds (`pipeline.bins.describe`).
"""
