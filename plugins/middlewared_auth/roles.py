"""The roles that exist: those that some declaration names."""

from collections.abc import Iterable

from middlewared import FULL_ADMIN, READONLY_ADMIN, ValidationError, ValidationErrors
from middlewared.registry import Registry

__all__ = [
    "API_KEY_READ",
    "API_KEY_WRITE",
    "JOB_USER",
    "check_roles",
    "known_roles",
]

#: May run the jobs that say so, and sees its own.
JOB_USER = "JOB_USER"
#: May list the API keys of the own account.
API_KEY_READ = "API_KEY_READ"
#: May make, change and revoke API keys for the own account.
API_KEY_WRITE = "API_KEY_WRITE"


def known_roles(registry: Registry) -> frozenset[str]:
    """Collect the roles that methods, collections and sources of any plugin name."""
    roles = registry.roles.union({FULL_ADMIN, READONLY_ADMIN, JOB_USER})
    for plugin in registry.plugins:
        roles = roles.union(*(c.access.roles for c in plugin.collections))
        roles = roles.union(*(s.access.roles for s in plugin.sources))
    return roles


def check_roles(
    registry: Registry, roles: Iterable[str], *, attribute: str
) -> frozenset[str]:
    """Check that every role exists.

    Args:
        registry: knows what is declared.
        roles: names, in the order given.
        attribute: dotted path of the list, for errors.

    Raises:
        ValidationErrors: names each role that does not exist, and those that do.
    """
    roles, known = list(roles), known_roles(registry)
    errors = [
        ValidationError(
            f"{attribute}.{place}",
            f"there is no role {role!r}, expected one of {', '.join(sorted(known))}",
        )
        for place, role in enumerate(roles)
        if role not in known
    ]
    if errors:
        raise ValidationErrors(errors)
    return frozenset(roles)
