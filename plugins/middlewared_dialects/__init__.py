"""Jobs in the shape of other job APIs: Webex, ArcGIS Mission, OCAPI, InfoLink."""

from middlewared_dialects.declaration import plugin

__all__ = ["plugin"]
