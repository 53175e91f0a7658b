"""Who is at the other end of the unix socket."""

import os
import uuid
from pwd import getpwuid

from middlewared.access import FULL_ADMIN, Credentials, Origin
from middlewared.clock import Clock

__all__ = ["peer_credentials"]


def peer_credentials(origin: Origin, clock: Clock) -> Credentials | None:
    """Give the rights that the kernel of the system vouches for (unix(7), SO_PEERCRED).

    Root and the server's own user could read the database anyway: full admins.

    Returns:
        None for any other user, and on the port.
    """
    if origin.uid not in (0, os.geteuid()):
        return None
    try:
        username = getpwuid(origin.uid).pw_name
    except KeyError:
        username = str(origin.uid)
    return Credentials(
        type="UNIX_SOCKET",
        account_id=None,
        username=username,
        roles=frozenset({FULL_ADMIN}),
        login_id=str(uuid.uuid4()),
        login_at=clock.time_ms(),
    )
