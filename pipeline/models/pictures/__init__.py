"""Pictures of a model's evidence, as PNG bytes: calibration, curves, importance, learning, error by age.

What is drawn is computed elsewhere, where a picture goes is decided elsewhere.
"""
