"""The families of Webex jobs, and in what their answers differ; pure."""

from collections.abc import Mapping
from typing import Literal

import msgspec

__all__ = ["FAMILIES", "INVITES", "Family"]

#: How a wrong body is answered.
BadBody = Literal["codes", "keyed", "platform"]


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """One family.

    Attributes:
        path: below ``/telephony/config/jobs``.
        name: of its jobs, and their type.
        start: HTTP status of a start; None when they are started elsewhere.
        wrapped: the started job is inside ``response``.
        pause: HTTP status of a pause and a resume; None when there are none.
        listed: there is a list of its jobs.
        job_type: its jobs show their type besides the name.
        bad_body: how a wrong body is answered.
        errors_max: errors on a page, by default and at most.
        percentage: its jobs show how far they are.
    """

    path: str
    name: str
    start: int | None = 202
    wrapped: bool = False
    pause: int | None = None
    listed: bool = True
    job_type: bool = True
    bad_body: BadBody = "platform"
    errors_max: int = 2000
    percentage: bool = False


INVITES = Family(
    path="sendActivationEmails",
    name="resendinviteemail",
    listed=False,
    job_type=False,
    errors_max=50,
)

FAMILIES: Mapping[str, Family] = {
    family.path: family
    for family in (
        Family(
            path="person/moveLocation",
            name="moveusers",
            start=201,
            wrapped=True,
            pause=202,
            job_type=False,
            bad_body="codes",
        ),
        Family(
            path="numbers/manageNumbers",
            name="managenumbers",
            start=201,
            pause=204,
            bad_body="keyed",
        ),
        Family(
            path="devices/callDeviceSettings",
            name="calldevicesettings",
            start=200,
            percentage=True,
        ),
        Family(
            path="devices/applyLineKeyTemplate",
            name="applyphonelinekeytemplates",
            percentage=True,
        ),
        Family(path="devices/rebuildPhones", name="rebuildphones", percentage=True),
        Family(
            path="devices/dynamicDeviceSettings",
            name="dynamicdevicesettings",
            percentage=True,
        ),
        Family(
            path="locations/deleteCallingLocation",
            name="deletecallinglocation",
            pause=202,
            percentage=True,
        ),
        Family(path="updateRoutingPrefix", name="updateroutingprefix", start=None),
        Family(path="callRecording", name="managecallrecordingprovider", start=None),
        INVITES,
    )
}
