"""Parameters of the flows, checked before anything starts: the one declaration of each.

A field says its name, type, unit, bounds and meaning; the command line, Prefect's form, the
deployments and the documentation are made from it. A title ends with the unit, in brackets.
"""

from meldflow.tasks.options.extraction import WEIGHTS, Extraction, ExtractOptions, split_weights
from meldflow.tasks.options.fields import UNBOUND, Cli, Options, first_problem, is_options
from meldflow.tasks.options.training import Training, TrainOptions
from meldflow.tasks.options.upkeep import AuditOptions, MaintainOptions, PollOptions

__all__ = [
    "UNBOUND",
    "WEIGHTS",
    "AuditOptions",
    "Cli",
    "ExtractOptions",
    "Extraction",
    "MaintainOptions",
    "Options",
    "PollOptions",
    "TrainOptions",
    "Training",
    "first_problem",
    "is_options",
    "split_weights",
]
