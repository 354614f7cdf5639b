"""Steps as activities of Temporal: `pip install "osquery-live-query[temporal]"`.

Where one machine is not enough (a hunt of thousands of steps, workers in several networks near several
servers) a workflow names an `instance` of the worker's own policy, so that no credential ever enters its
history. `python -m osquery_live_query.temporal --help` is the worker; `hunt` has a workflow to begin with.
"""

from .activity import ACTIVITY, LiveQueryActivities
from .values import Reference, StepInput, StepResult

__all__ = ["ACTIVITY", "LiveQueryActivities", "Reference", "StepInput", "StepResult"]
