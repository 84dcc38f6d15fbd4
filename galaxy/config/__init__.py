"""Configuration: checked whole, before anything starts.

`CheckConfig` is the Hydra callback that checks, `plain` what a checked configuration is to the code.
"""

from galaxy.config.callback import CheckConfig
from galaxy.config.check import plain
from galaxy.config.problems import ConfigError, Problem
from galaxy.config.resolvers import register

__all__ = ["CheckConfig", "ConfigError", "Problem", "plain"]

register()
