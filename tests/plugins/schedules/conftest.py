"""Settings of the property tests."""

from hypothesis import settings

# Timed out examples would tell of the machine, not of the code.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
