"""From a table's spec to its Great Expectations suite, and from a frame to a verdict."""
