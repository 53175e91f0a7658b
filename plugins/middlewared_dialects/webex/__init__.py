"""The Webex dialect: families of jobs, with executions, steps, counts and errors."""

from middlewared_dialects.webex.publication import Webex
from middlewared_dialects.webex.routes import ROUTES

__all__ = ["ROUTES", "Webex"]
