"""The InfoLink dialect: operations of apps, run as jobs, with result sets."""

from middlewared_dialects.infolink.publication import Infolink
from middlewared_dialects.infolink.routes import ROUTES

__all__ = ["ROUTES", "Infolink"]
