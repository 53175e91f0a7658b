"""Uids of jobs."""

import uuid

from middlewared_jobs.uids import BATCH, Uids


def test_uids() -> None:
    """Each is a random uuid of its own, in the form that others write, too."""
    uids = Uids()
    made = [uids.take() for _ in range(3 * BATCH + 1)]
    assert len(set(made)) == len(made)
    for uid in made:
        parsed = uuid.UUID(uid)
        assert str(parsed) == uid
        assert (parsed.version, parsed.variant) == (4, uuid.RFC_4122)
