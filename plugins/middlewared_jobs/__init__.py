"""The job manager: what a plugin with jobs imports."""

from middlewared_jobs.backoff import Backoff
from middlewared_jobs.current_job import Job, JobAborted
from middlewared_jobs.declaration import plugin
from middlewared_jobs.decorator import job
from middlewared_jobs.figures import JobFigures, LiveJobs, count_live
from middlewared_jobs.jobs import Jobs
from middlewared_jobs.masking import Masker
from middlewared_jobs.notes import Exit, ItemError, StepRecord, TextMessage
from middlewared_jobs.options import JobChoices, JobOptions
from middlewared_jobs.outcome import JobFailed, ServerStopped, WorkerLost
from middlewared_jobs.phase import Phase
from middlewared_jobs.reading import read_jobs
from middlewared_jobs.record import JobRecord
from middlewared_jobs.resultsets import Column, ColumnType, ResultSet, StandardType
from middlewared_jobs.seal import Seal
from middlewared_jobs.spec import JobFunction, JobSpec
from middlewared_jobs.states import State
from middlewared_jobs.step import Step, StepSpec
from middlewared_jobs.submission import NotAccepted, Submission
from middlewared_jobs.survivors import CHILD_OF

__all__ = [
    "CHILD_OF",
    "Backoff",
    "Column",
    "ColumnType",
    "Exit",
    "ItemError",
    "Job",
    "JobAborted",
    "JobChoices",
    "JobFailed",
    "JobFigures",
    "JobFunction",
    "JobOptions",
    "JobRecord",
    "JobSpec",
    "Jobs",
    "LiveJobs",
    "Masker",
    "NotAccepted",
    "Phase",
    "ResultSet",
    "Seal",
    "ServerStopped",
    "StandardType",
    "State",
    "Step",
    "StepRecord",
    "StepSpec",
    "Submission",
    "TextMessage",
    "WorkerLost",
    "count_live",
    "job",
    "plugin",
    "read_jobs",
]
