"""What holds for every test."""

from hypothesis import settings

# A slow example says that the machine is busy, not that the code is wrong.
settings.register_profile("poolcast", deadline=None, print_blob=True)
settings.load_profile("poolcast")
