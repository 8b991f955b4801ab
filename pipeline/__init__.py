"""The library of poolcast: plain functions over frames, one package a stage."""
