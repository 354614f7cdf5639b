"""What goes into an activity and comes out of it: small enough for a history, and without a credential."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Reference:
    """A document that is kept elsewhere, as it is too large for a history."""

    url: str
    """Where, as fsspec understands it: a path, `s3://…`, …"""
    sha256: str
    """Of its bytes, in hexadecimal digits."""
    bytes: int
    """Its size."""


@dataclass(frozen=True)
class StepInput:
    """One step for one worker."""

    step: dict[str, Any]
    """The step; its `params` name an `instance`, and never an address or a credential."""
    context: dict[str, Any] | None = None
    """What its expressions are looked up in."""
    resume: Reference | None = None
    """An earlier document of the same step: hosts that answered then are kept."""


@dataclass(frozen=True)
class StepResult:
    """What became of a step. All of it is in `document`, or where `reference` says."""

    run: str
    """The run's id, as the audit log has it."""
    partial: bool
    """Whether rows are missing."""
    targeted: int
    """Hosts that were asked."""
    responded: int
    """Hosts that answered."""
    rows: int
    """Rows that came."""
    silent: int
    """Targets that did not answer."""
    timed_out_hosts: list[str] = field(default_factory=list)
    """Their names, a thousand at most."""
    document: dict[str, Any] | None = None
    """The whole document, where it is small."""
    reference: Reference | None = None
    """The whole document, always: `StepInput.resume` takes it."""
