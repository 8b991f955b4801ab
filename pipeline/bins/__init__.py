"""The bins stage: the same series for QLib, as a provider directory it reads back exactly."""
