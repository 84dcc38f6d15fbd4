"""The configuration, which is checked as a whole before anything starts, and how it becomes objects."""

from galaxy.config.check import plain
from galaxy.config.jobs import check_command_line
from galaxy.config.problems import ConfigError, Problem
from galaxy.config.resolvers import register

__all__ = ["ConfigError", "Problem", "check_command_line", "plain"]

register()
