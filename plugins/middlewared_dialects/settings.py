"""Settings of the dialects, table ``dialects``."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

__all__ = ["DialectSettings"]

Published = dict[str, dict[str, Any] | bool]


class DialectSettings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """Which job methods appear in which dialect, besides those that say so."""

    webex: Annotated[
        Published,
        Meta(description="Methods in the Webex dialect, by name; false for none."),
    ] = {}
    arcgis: Annotated[
        Published,
        Meta(description="Methods in the ArcGIS dialect, by name; false for none."),
    ] = {}
    ocapi: Annotated[
        Published,
        Meta(description="Methods in the OCAPI dialect, by name; false for none."),
    ] = {}
    job_execution_exception_status: Annotated[
        Literal[400, 409],
        Meta(
            description="HTTP status of an OCAPI JobExecutionException: its table has "
            "400, its sample 409."
        ),
    ] = 400
    infolink: Annotated[
        Published,
        Meta(description="Methods in the InfoLink dialect, by name; false for none."),
    ] = {}
