"""What a declaration says about one call."""

import errno

import pytest

from middlewared import CallError, Context, Plugin
from middlewared_jobs import Job, job
from middlewared_jobs.declared import description_of, lock_of, spec_of

plugin = Plugin("declared")


@plugin.method
@job(lock="pool:{pool:d}", description="Scrub {pool:d}")
async def scrub(job: Job, pool: str | int) -> None:
    """Scrub a pool."""


@plugin.method
async def plain(ctx: Context) -> None:
    """Do nothing."""


def test_params_fill_lock_and_description() -> None:
    """The params stand where the templates name them."""
    spec = spec_of(plugin.methods["declared.scrub"])
    assert lock_of(spec, [7]) == "pool:7"
    assert description_of(spec, [7]) == "Scrub 7"


def test_a_lock_that_cannot_be_made_refuses_the_call() -> None:
    """A template that does not take the params is an error that says so."""
    spec = spec_of(plugin.methods["declared.scrub"])
    with pytest.raises(CallError, match="Error handling job lock") as refused:
        lock_of(spec, ["tank"])
    assert refused.value.errno == errno.EINVAL


def test_a_description_that_cannot_be_made_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The job runs without its description, and the log says why."""
    spec = spec_of(plugin.methods["declared.scrub"])
    assert description_of(spec, ["tank"]) is None
    assert "could not be made" in caplog.text


def test_a_plain_method_has_no_spec() -> None:
    """Calls of a method that is no job are refused by name."""
    with pytest.raises(CallError, match=r"declared\.plain is no job method"):
        spec_of(plugin.methods["declared.plain"])
