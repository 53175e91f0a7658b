"""Accounts, roles, API keys and tokens: who may do what, and how they prove it."""

from middlewared_auth import (  # noqa: F401 - importing them declares their methods
    api_keys,
    granting,
    login,
    passwords,
    sessions,
    start,
    terminating,
    users,
)
from middlewared_auth.account import Account
from middlewared_auth.accounts import Accounts
from middlewared_auth.declaration import AuthSettings, plugin
from middlewared_auth.roles import JOB_USER
from middlewared_auth.tokens import Tokens

__all__ = ["JOB_USER", "Account", "Accounts", "AuthSettings", "Tokens", "plugin"]
