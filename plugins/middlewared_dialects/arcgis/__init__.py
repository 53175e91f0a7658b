"""The ArcGIS Mission dialect: operations of a server, run as jobs, as JSON or HTML."""

from middlewared_dialects.arcgis.publication import Arcgis
from middlewared_dialects.arcgis.routes import ROUTES

__all__ = ["ROUTES", "Arcgis"]
