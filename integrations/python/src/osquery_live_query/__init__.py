"""Asks hosts a question through Fleet or osctrl, and says which of them did not answer.

A thin, typed layer over the binary `osquery-live-query`, which this package brings.
"""

from ._asynchronous import AsyncRun, arun
from ._binary import BinaryNotFoundError
from ._blocking import check, dry_run, run
from ._collecting import AsyncPoll, Poll, acollect, collect
from .errors import (
    AllowlistError,
    AuthError,
    BackendError,
    BusyError,
    CancelledError,
    DeadlineError,
    DecodeError,
    InternalError,
    LiveQueryError,
    NoDocumentError,
    OutputError,
    PolicyError,
    RenderError,
    SchemaError,
    TargetsError,
    UnreachableError,
    UsageError,
)
from .models import CollectSummary, Document, DryRunReport, Event, Host, HostLine, Row, SummaryLine

__all__ = [
    "AllowlistError",
    "AsyncPoll",
    "AsyncRun",
    "AuthError",
    "BackendError",
    "BinaryNotFoundError",
    "BusyError",
    "CancelledError",
    "CollectSummary",
    "DeadlineError",
    "DecodeError",
    "Document",
    "DryRunReport",
    "Event",
    "Host",
    "HostLine",
    "InternalError",
    "LiveQueryError",
    "NoDocumentError",
    "OutputError",
    "PolicyError",
    "Poll",
    "RenderError",
    "Row",
    "SchemaError",
    "SummaryLine",
    "TargetsError",
    "UnreachableError",
    "UsageError",
    "acollect",
    "arun",
    "check",
    "collect",
    "dry_run",
    "run",
]
