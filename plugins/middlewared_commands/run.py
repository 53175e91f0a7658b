"""One run of a command: the body of its jobs."""

import errno
import logging
import os
import shlex
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final

import anyio.from_thread
import msgspec

from middlewared import CallError
from middlewared_commands.account import Account, AccountError, find_account
from middlewared_commands.command import Command
from middlewared_commands.environment import RESERVED, inherited
from middlewared_commands.exits import Verdict, in_words
from middlewared_commands.output import (
    CappedLog,
    Capture,
    Output,
    Stream,
    spellings,
)
from middlewared_commands.private import (
    PrivateFiles,
    give,
    read_secret,
    text_descriptor,
)
from middlewared_commands.process import Place, Process
from middlewared_commands.progress import Progress
from middlewared_commands.pump import Pipes, pump
from middlewared_commands.routes import secret_texts
from middlewared_commands.values import checked
from middlewared_jobs import CHILD_OF, Job

__all__ = ["result_of", "run_command"]

logger = logging.getLogger(__name__)

#: Characters of a command line in the log.
MAX_SHOWN = 4096
#: How a job comes out whose program did part of its work.
WITH_ERRORS: Final = "COMPLETED_WITH_ERRORS"


def run_command(job: Job, command: Command, values: Mapping[str, Any]) -> Any:
    """Run a command to its end, in the thread of its job.

    Args:
        job: the job.
        command: what to run.
        values: of all params; None for what is not given.

    Returns:
        What the settings take for the result.

    Raises:
        JobAborted: it ended after an abort or a timeout.
        CallError: it cannot be started, or ended in another way than it should.
        ValidationErrors: a value that no type could refuse.
    """
    params = command.table.params
    values = {name: checked(name, params[name], v) for name, v in values.items()}
    secrets = secret_texts(values)
    for name, source in command.table.secrets.items():
        secrets[name] = read_secret(source.file)
    account = _account(command)
    data_dir = job.context.settings.data_path
    filed = {n: text for n, text in secrets.items() if n in command.routes.filed}
    with (
        PrivateFiles(filed, data_dir, account) as files,
        text_descriptor(command.routes.fill_stdin(values, secrets), account) as stdin,
    ):
        place = _place(job, command, values, secrets, files.paths, account)
        return _perform(job, command, place, secrets.values(), stdin)


def _account(command: Command) -> Account | None:
    try:
        return find_account(command.table.user, command.table.group)
    except AccountError as exc:
        raise CallError(str(exc), errno.EPERM) from None


def _place(
    job: Job,
    command: Command,
    values: Mapping[str, Any],
    secrets: Mapping[str, str],
    paths: Mapping[str, str],
    account: Account | None,
) -> Place:
    """Say how the program is started for these values."""
    table, routes = command.table, command.routes
    words = routes.words.fill(values, paths)
    if table.script is not None:
        words = [*table.shell, table.script, command.name, *words]
    environment = inherited(table.inherit, account)
    environment |= routes.fill_environment(values, secrets, paths)
    # By the first, what is left of a dead server's children is found again.
    environment[CHILD_OF.encode()] = os.fsencode(job.context.settings.data_path)
    environment[f"{RESERVED}JOB_ID".encode()] = b"%d" % job.id
    given = {name: text for name, text in values.items() if isinstance(text, str)}
    return Place(
        words=words,
        environment=environment,
        folder=command.folder.fill(given),
        account=account,
        umask=table.umask,
        nice=table.nice,
    )


def _perform(
    job: Job, command: Command, place: Place, secrets: Iterable[str], stdin: int
) -> Any:
    """Run the program, and say how it came out."""
    table = command.table
    capture = None if table.result == "none" else Capture(table.max_result)
    log = CappedLog(job.logs_fd.write, table.max_log)
    output = Output(log, _progress(job, command))
    masked = {form for secret in secrets for form in spellings(secret)}
    job.log.info("$ %s", _shown(command, place))
    with Pipes(1 if capture is None else 2) as pipes:
        for inlet in pipes.inlets:
            give(inlet, place.account)  # it may open /dev/stdout
        takers: tuple[Capture | None, ...] = (capture, None)
        streams = {
            outlet: Stream(output, masked, taker)
            for outlet, taker in zip(pipes.outlets, takers, strict=False)
        }
        status = _let_run(job, command, place, pipes, streams, stdin)
    log.close()
    if log.failure is not None:
        logger.warning("the log of job %d is not whole: %s", job.id, log.failure)
    job.log.info("%s %s", command.program, in_words(status))
    job.check_aborted()
    _judge(job, command, status, output.last_line)
    return None if capture is None else result_of(table.result, capture)


def _let_run(
    job: Job,
    command: Command,
    place: Place,
    pipes: Pipes,
    streams: Mapping[int, Stream],
    stdin: int,
) -> int:
    """Run the program once its number is on disk, and give its status."""
    stdout, stderr = pipes.inlets[0], pipes.inlets[-1]
    with Process(place, stdin=stdin, stdout=stdout, stderr=stderr) as process:
        pipes.close_inlets()
        adopt = partial(job.adopt, process.pid, grace=command.table.abort_grace)
        anyio.from_thread.run(adopt)
        job.check_aborted()
        process.begin()
        pump(process, streams, job.release)
        return process.wait()


def _progress(job: Job, command: Command) -> Progress | None:
    if not command.patterns:
        return None
    return Progress(command.patterns, job.set_progress, job.log.warning)


def _shown(command: Command, place: Place) -> str:
    """Write the command line as a shell would take it, in one line; no scripts."""
    words = list(place.words)
    if command.table.script is not None:
        words[: len(command.table.shell) + 2] = [f"<{command.program}>"]
    text = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode()
        for c in shlex.join(words)
    )
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _judge(job: Job, command: Command, status: int, last_line: str) -> None:
    """Make of the exit code what the settings say, in the record of the job.

    Raises:
        CallError: it means a failure.
    """
    text = command.exits.text(command.program, status)
    match command.exits.judge(status):
        case Verdict.FAILURE:
            job.message(status, text, "error")
            said = f"; it said: {last_line}" if last_line else ""
            raise CallError(text + said, errno.EFAULT, {"status": status})
        case Verdict.WARNING:
            job.message(status, text, "warning")
            job.set_exit(WITH_ERRORS, text, WITH_ERRORS)
        case Verdict.SUCCESS if status in command.exits.messages:
            job.message(status, text)


def result_of(kind: str, capture: Capture) -> Any:
    """Make the result of what a program wrote to its standard output.

    Args:
        kind: text, lines or json.
        capture: what it wrote.

    Raises:
        CallError: EMSGSIZE, it is too much; EINVAL, it is no JSON.
    """
    if not capture.whole:
        raise CallError(
            f"the output has {capture.size} bytes, the limit max_result is "
            f"{len(capture.data)}",
            errno.EMSGSIZE,
        )
    if kind == "json":
        try:
            return msgspec.json.decode(capture.data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
            raise CallError(f"the output is no JSON: {exc}", errno.EINVAL) from None
    text = capture.data.decode(errors="replace")
    if kind == "text":
        return text.rstrip("\n")
    lines = text.removesuffix("\n").split("\n") if text else []
    return [line.removesuffix("\r") for line in lines]
