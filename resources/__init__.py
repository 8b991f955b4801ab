"""The doors: configuration in, plain library objects out."""
