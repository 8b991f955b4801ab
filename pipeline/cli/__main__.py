"""`python -m pipeline.cli`: the same as `poolcast`."""

from pipeline.cli import main

main()
