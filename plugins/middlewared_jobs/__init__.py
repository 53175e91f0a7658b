"""The job manager: what a plugin with jobs imports."""

from middlewared_jobs.current_job import Job, JobAborted
from middlewared_jobs.declaration import plugin
from middlewared_jobs.jobs import Jobs
from middlewared_jobs.masking import Masker
from middlewared_jobs.outcome import JobFailed, ServerStopped, WorkerLost
from middlewared_jobs.record import JobRecord
from middlewared_jobs.spec import JobFunction, JobSpec, job
from middlewared_jobs.states import State
from middlewared_jobs.survivors import CHILD_OF

__all__ = [
    "CHILD_OF",
    "Job",
    "JobAborted",
    "JobFailed",
    "JobFunction",
    "JobRecord",
    "JobSpec",
    "Jobs",
    "Masker",
    "ServerStopped",
    "State",
    "WorkerLost",
    "job",
    "plugin",
]
