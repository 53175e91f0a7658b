"""What a login may know of itself: the answer of ``auth.me``."""

import os
from typing import Any

import msgspec

from middlewared import Context, Credentials
from middlewared.context import Session
from middlewared_auth.accounts import Accounts

__all__ = ["UserInfo", "describe_user"]


class Allowed(msgspec.Struct, frozen=True):
    """One entry of an allow-list."""

    method: str
    resource: str


class Privilege(msgspec.Struct, frozen=True):
    """What a login may do."""

    roles: frozenset[str]
    allowlist: list[Allowed]
    web_shell: bool = False
    webui_access: bool = True


class TwoFactor(msgspec.Struct, frozen=True):
    """Second factors are not served; clients read these keys all the same."""

    provisioning_uri: str | None = None
    secret_configured: bool = False
    interval: int = 30
    otp_digits: int = 6


class UserInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A user in the words of the protocol (protocol page, section 3).

    Accounts are this server's own: ``pw_uid`` is the account's id, and a user id of
    the system only for who came over the unix socket.
    """

    pw_name: str
    pw_gecos: str
    pw_dir: str = "/nonexistent"
    pw_shell: str = "/usr/sbin/nologin"
    pw_uid: int
    pw_gid: int
    grouplist: list[int] = []
    sid: str | None = None
    source: str = "LOCAL"
    local: bool = True
    attributes: dict[str, Any] = {}
    two_factor_config: TwoFactor = TwoFactor()
    privilege: Privilege
    account_attributes: list[str]


def describe_user(
    ctx: Context, credentials: Credentials, session: Session | None
) -> UserInfo:
    """Describe who is logged in."""
    account = ctx.get(Accounts).get(credentials.account_id)
    uid = os.getuid()
    if account is not None:
        uid = account.id
    elif session is not None and session.origin.uid is not None:
        uid = session.origin.uid
    everything = [Allowed("*", "*")] if credentials.full_admin else []
    return UserInfo(
        pw_name=credentials.username,
        pw_gecos=account.full_name if account else "",
        pw_uid=uid,
        pw_gid=uid,
        attributes=account.attributes if account else {},
        privilege=Privilege(credentials.roles, everything),
        account_attributes=["LOCAL"]
        + (["API_KEY"] if credentials.api_key is not None else []),
    )
