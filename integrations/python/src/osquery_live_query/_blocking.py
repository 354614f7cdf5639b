"""`run`, `check` and `dry_run`: the binary, started and awaited."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from . import _binary
from ._command import Path, command, hand_on, invocation
from .errors import NoDocumentError, raise_for
from .models import Document, DryRunReport

GRACE_SECONDS = 10.0
"""What the binary gets to stop its campaign after SIGTERM; it takes 2 s at most for itself."""


def run(
    step: Mapping[str, Any],
    *,
    context: Mapping[str, Any] | None = None,
    secrets: Mapping[str, str] | None = None,
    policy: Path | None = None,
    secrets_dir: Path | None = None,
    resume: Path | None = None,
) -> Document:
    """Executes one `osquery_live_query` step and returns its document, a partial one too.

    Args:
        step: the step as the playbook has it.
        context: what expressions such as `{{ alert.host }}` are looked up in.
        secrets: values of `{{ secrets.NAME }}`. They go to the binary's stdin and nowhere else.
        policy: the operator's policy file.
        secrets_dir: a folder with one file for each secret.
        resume: a file with an earlier document of the same step; hosts that answered then are kept.

    Raises:
        LiveQueryError: the run failed; a class for each code.
        CancelledError: the run was ended by a signal.
        NoDocumentError: the binary ended without a document.
        BinaryNotFoundError: there is no binary.

    Warnings go to the logger `osquery_live_query`. Where the wait is broken off (`KeyboardInterrupt`), the
    campaign is stopped before the exception goes on.
    """
    words = command("run", policy=policy, secrets_dir=secrets_dir, resume=resume)
    return _document(words, invocation(step, context, secrets))


def check(
    step: Mapping[str, Any],
    *,
    context: Mapping[str, Any] | None = None,
    secrets: Mapping[str, str] | None = None,
    policy: Path | None = None,
    secrets_dir: Path | None = None,
) -> Document:
    """Does everything that `run` does up to the dispatch: `planned` says what would be sent to whom.

    Arguments and exceptions are those of `run`.
    """
    return _document(command("check", policy=policy, secrets_dir=secrets_dir), invocation(step, context, secrets))


def dry_run(
    paths: Sequence[Path] = (".",),
    *,
    policy: Path | None = None,
    context: Path | None = None,
    strict: bool = False,
) -> DryRunReport:
    """Checks playbooks and steps without a network: all problems of all files.

    Raises:
        NoDocumentError: a path or the policy can't be used; the message says why.
        BinaryNotFoundError: there is no binary.
    """
    words = [_binary.find(), "dry-run", "--format", "json"]
    for flag, value in (("--policy", policy), ("--context", context)):
        if value is not None:
            words += [flag, os.fspath(value)]
    if strict:
        words.append("--strict")
    words += ["--", *(os.fspath(path) for path in paths)]
    status, stdout, stderr = _finish(words, b"")
    # 1 says that there are problems: they are in the report.
    if status not in (0, 1):
        raise NoDocumentError(status, stderr)
    return DryRunReport.from_json(json.loads(stdout))


def _finish(words: Sequence[str], stdin: bytes) -> tuple[int, bytes, str]:
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        try:
            stdout, stderr = child.communicate(stdin)
        except BaseException:
            child.send_signal(signal.SIGTERM)
            try:
                child.communicate(timeout=GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
            raise
    return child.returncode, stdout, stderr.decode(errors="replace")


def _document(words: Sequence[str], stdin: bytes) -> Document:
    status, stdout, stderr = _finish(words, stdin)
    try:
        document = Document.from_json(json.loads(stdout))
    except (ValueError, KeyError, TypeError) as error:
        raise NoDocumentError(status, stderr) from error
    hand_on(stderr)
    raise_for(document)
    return document
