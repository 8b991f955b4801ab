"""Pictures of a model's evidence, as PNG bytes: curves, importance, learning, error by age.

Calibration and confusion are in `pipeline.models.plots`. Figures are made without pyplot, so there is no global state,
and the same input gives the same bytes. What is drawn is computed elsewhere, where a picture goes is decided elsewhere.
"""
