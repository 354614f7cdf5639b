"""What a run raises: one exception for each code of the contract."""

from __future__ import annotations

from .models import CollectSummary, Document, Error, Problem, SummaryLine

Outcome = Document | SummaryLine | CollectSummary
"""What a run or a poll ends with."""


class LiveQueryError(Exception):
    """A run or a poll that failed. `str()` is its message.

    A run's document is there all the same: rows that came before the failure are in `document.results`. A poll
    has its summary there, where it got as far.
    """

    def __init__(self, error: Error, document: Outcome | None = None) -> None:
        super().__init__(error, document)
        self.error = error
        self.document = document

    def __str__(self) -> str:
        return self.error.message

    @property
    def code(self) -> str:
        """The class of failure, a word of the contract."""
        return self.error.code

    @property
    def exit_code(self) -> int:
        """The binary's exit status."""
        return self.error.exit_code

    @property
    def hint(self) -> str | None:
        """What to do."""
        return self.error.hint

    @property
    def retryable(self) -> bool:
        """Whether the same step may succeed later."""
        return self.error.retryable

    @property
    def details(self) -> list[Problem]:
        """Every single problem."""
        return self.error.details


class UsageError(LiveQueryError):
    """Wrong flags, or a file that can't be used (2)."""


class DecodeError(LiveQueryError):
    """The input is not one document of the known forms (10)."""


class SchemaError(LiveQueryError):
    """The step does not conform to its schema (11)."""


class RenderError(LiveQueryError):
    """An undefined name, a missing secret, or a secret in the wrong field (12)."""


class AllowlistError(LiveQueryError):
    """An unknown template, or a refused parameter (13)."""


class PolicyError(LiveQueryError):
    """The operator's policy forbids it (14)."""


class AuthError(LiveQueryError):
    """The server refused the credentials or the role (20)."""


class TargetsError(LiveQueryError):
    """No target is enrolled, or there are more hosts than `max_hosts` (21)."""


class BackendError(LiveQueryError):
    """The server answered with an error (22)."""


class UnreachableError(LiveQueryError):
    """The server can't be reached (23)."""


class BusyError(LiveQueryError):
    """The server, or this machine, is busy for longer than the deadline allows (24)."""


class DeadlineError(LiveQueryError):
    """The deadline came before a campaign was started and listened to (25)."""


class InternalError(LiveQueryError):
    """A bug (70)."""


class OutputError(LiveQueryError):
    """The document could not be written (74)."""


class CancelledError(Exception):
    """The run, or the poll, was ended by a signal (130, 143). `document` has what had come."""

    def __init__(self, document: Outcome | None) -> None:
        super().__init__(document)
        self.document = document

    def __str__(self) -> str:
        if isinstance(self.document, Document | SummaryLine):
            return "the run was ended by a signal, before every host had answered"
        return "the poll was ended by a signal"


class NoDocumentError(RuntimeError):
    """The binary ended without a document: it was killed, or is another program."""

    def __init__(self, status: int, stderr: str) -> None:
        super().__init__(status, stderr)
        self.status = status
        self.stderr = stderr

    def __str__(self) -> str:
        said = self.stderr.strip() or "it said nothing"
        return f"osquery-live-query ended with the status {self.status} and without a document: {said}"


BY_CODE: dict[str, type[LiveQueryError]] = {
    "usage": UsageError,
    "decode": DecodeError,
    "schema": SchemaError,
    "render": RenderError,
    "allowlist": AllowlistError,
    "policy": PolicyError,
    "auth": AuthError,
    "targets": TargetsError,
    "backend": BackendError,
    "unreachable": UnreachableError,
    "busy": BusyError,
    "deadline": DeadlineError,
    "internal": InternalError,
    "output": OutputError,
}


def raise_for(document: Document | SummaryLine) -> None:
    """Raises what the document says went wrong, if anything did."""
    if document.error is not None:
        raise BY_CODE.get(document.error.code, LiveQueryError)(document.error, document)
    if document.cancelled:
        raise CancelledError(document)
