"""The OCAPI dialect: executions of jobs, with steps over scopes, in JSON and XML."""

from middlewared_dialects.ocapi.publication import Ocapi
from middlewared_dialects.ocapi.routes import ROUTES

__all__ = ["ROUTES", "Ocapi"]
