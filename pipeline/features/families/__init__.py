"""The families of features, one a file: formulas, and nothing but formulas."""
