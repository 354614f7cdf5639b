"""How the binary is started: its arguments, what it reads, and what it says on stderr."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from . import _binary

Path = str | os.PathLike[str]

log = logging.getLogger("osquery_live_query")
LEVELS = {"error": logging.ERROR, "warn": logging.WARNING, "info": logging.INFO, "debug": logging.DEBUG}


def command(
    verb: str,
    *,
    policy: Path | None = None,
    secrets_dir: Path | None = None,
    resume: Path | None = None,
    arguments: Sequence[str] = (),
) -> list[str]:
    """The command line of `run` or `check`. An engine that is killed leaves no campaign behind."""
    words = [_binary.find(), verb, "--exit-with-parent", "--log", "json"]
    for flag, value in (("--policy", policy), ("--secrets-dir", secrets_dir), ("--resume", resume)):
        if value is not None:
            words += [flag, os.fspath(value)]
    return [*words, *arguments]


def invocation(step: Mapping[str, Any], context: Mapping[str, Any] | None, secrets: Mapping[str, str] | None) -> bytes:
    """What goes to stdin: secrets are in no file, argument or variable."""
    whole: dict[str, Any] = {"protocol": 1, "step": step}
    if context is not None:
        whole["context"] = context
    if secrets is not None:
        whole["secrets"] = secrets
    return json.dumps(whole, ensure_ascii=False, allow_nan=False).encode()


def hand_on(stderr: str) -> None:
    """Hands the lines of stderr to the logger `osquery_live_query`, but for the error: that is raised."""
    for line in stderr.splitlines():
        try:
            entry = json.loads(line)
            level, message = LEVELS[entry["level"].lower()], entry["message"]
        except (ValueError, KeyError, TypeError, AttributeError):
            level, message = logging.WARNING, line
        if level < logging.ERROR:
            log.log(level, "%s", message)
