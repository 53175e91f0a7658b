"""Jobs that start by themselves: by a cron expression or an interval."""

from middlewared_schedules.declaration import plugin
from middlewared_schedules.schedule import ScheduleItem
from middlewared_schedules.schedules import Schedules

__all__ = ["ScheduleItem", "Schedules", "plugin"]
