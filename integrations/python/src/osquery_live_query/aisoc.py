"""The step's handler for AiSOC's playbook engine, in place of the built-in one.

Its engine finds a handler by the step's type in a map and calls it as `await handler(step, context, http)`;
only an exception is a failure, and the keys of what it returns are copied into the context.

```python
from osquery_live_query import aisoc

aisoc.register(HANDLERS, policy="/etc/osquery-live-query/policy.yaml")
```
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from typing import Any

from ._asynchronous import arun
from ._command import Path
from .models import Document

Handler = Callable[[Mapping[str, Any], Mapping[str, Any], Any], Awaitable[dict[str, Any]]]

STEP_TYPE = "osquery_live_query"
DEFAULT_SECONDS = 60
MOST_SECONDS = 300
"""The engine's bound of `params.timeout_seconds`, unless it is configured otherwise."""

# Where a step names no host, the engine takes the first of these that the alert has.
HOST_KEYS = ("host", "hostname", "device_id", "host_id")
TARGETS = ("target_hosts", "target_host_ids", "target_labels", "target_teams", "target_platforms")
# `{{ alert.host }}` and `{{ alert['host'] }}` name the root `alert`.
ROOT = re.compile(r"\{\{-?\s*([A-Za-z_]\w*)")
DOCUMENT = "_osquery_live_query"


def handler(
    *,
    policy: Path | None = None,
    secrets: Mapping[str, str] | None = None,
    secrets_dir: Path | None = None,
    most_seconds: int = MOST_SECONDS,
) -> Handler:
    """Makes the handler.

    Args:
        policy: the operator's policy; its `instances` are what a step's `instance_id` names.
        secrets: values of `{{ secrets.NAME }}` in steps.
        secrets_dir: a folder with one file for each secret.
        most_seconds: what a longer `timeout_seconds` is cut to.
    """

    async def osquery_live_query(step: Mapping[str, Any], context: Mapping[str, Any], http: Any) -> dict[str, Any]:
        """Executes the step; the HTTP client of the engine is not needed.

        Raises:
            LiveQueryError: as `run` does, so that the engine retries or aborts as the step says.
        """
        del http
        ours = prepared(step, context, most_seconds)
        known = {root: context[root] for root in roots(ours["params"]) if root in context}
        document = await arun(ours, context=known, secrets=secrets, policy=policy, secrets_dir=secrets_dir)
        return returned(document)

    return osquery_live_query


def register(handlers: MutableMapping[str, Handler], **options: Any) -> None:
    """Puts the handler into the engine's map; the options are those of `handler`."""
    handlers[STEP_TYPE] = handler(**options)


def prepared(step: Mapping[str, Any], context: Mapping[str, Any], most_seconds: int = MOST_SECONDS) -> dict[str, Any]:
    """The step as the binary takes it: the engine's own keys left out, its defaults and bounds put in."""
    params = dict(step.get("params") or {})
    if not params.get("instance_id") and not params.get("instance"):
        params.setdefault("backend", "osctrl")
    # The engine's editor writes what was left blank as an empty text or list.
    params = {key: value for key, value in params.items() if value not in (None, "", [])}
    if not any(params.get(key) for key in TARGETS):
        found = next((key for key in HOST_KEYS if context.get(key)), None)
        if found is not None:
            params["target_hosts"] = [f"{{{{ {found} }}}}"]
    seconds = params.get("timeout_seconds", DEFAULT_SECONDS)
    if isinstance(seconds, str) and seconds.strip().isdecimal():
        seconds = int(seconds)
    if isinstance(seconds, int | float) and not isinstance(seconds, bool):
        seconds = max(1, min(int(seconds), most_seconds))
    params["timeout_seconds"] = seconds
    ours: dict[str, Any] = {"type": STEP_TYPE, "params": params}
    for key in ("id", "name"):
        if step.get(key):
            ours[key] = str(step[key])
    return ours


def roots(params: Any) -> set[str]:
    """The context's keys that expressions name: an engine's context holds all earlier results, too."""
    return {match for text in texts(params) for match in ROOT.findall(text)} - {"secrets"}


def texts(value: Any) -> Iterator[str]:
    """All texts of a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts(inner)


def returned(document: Document) -> dict[str, Any]:
    """What the engine gets. Keys are copied into its context, so `hosts` of an alert must not be replaced:
    beside the four that the step promises all stands under one key with `_`, which is not copied.
    """
    promised = ("results", "partial", "timed_out_hosts", "executed")
    rest = {key: value for key, value in document.raw.items() if key != "results"}
    return {**{key: document.raw[key] for key in promised}, DOCUMENT: rest}
