"""The graph: names, partitions, dependencies; one module a stage; no arithmetic."""
