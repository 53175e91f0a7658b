"""Mistakes in the settings: each names its table and its key."""

from collections.abc import Callable
from typing import TypeVar

from middlewared.errors import SettingsError
from middlewared_commands.annotations import ParamError

__all__ = ["Mistakes"]

T = TypeVar("T")


class Mistakes:
    """Makes the errors about one table and those below it.

    Args:
        where: name of the table.
    """

    def __init__(self, where: str) -> None:
        self._where = where

    def at(self, text: str, *below: str) -> SettingsError:
        """Make the error about a whole table.

        Args:
            text: what is wrong.
            below: names of the tables on the way to it.
        """
        return SettingsError(f"table {'.'.join((self._where, *below))!r}: {text}")

    def wrong(self, key: str, text: str, *below: str) -> SettingsError:
        """Make the error about a setting."""
        where = ".".join((self._where, *below))
        return SettingsError(f"setting {key} in table {where!r}: {text}")

    def attempt(self, key: str, make: Callable[[], T], *below: str) -> T:
        """Do something that refuses what is wrong with a `ValueError`.

        Raises:
            SettingsError: it did.
        """
        try:
            return make()
        except ParamError as exc:
            raise self.wrong(exc.key, str(exc), *below) from None
        except ValueError as exc:
            raise self.wrong(key, str(exc), *below) from None
