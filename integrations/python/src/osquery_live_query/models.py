"""What the binary writes, as types. Made by `generate.py` from the JSON Schemas: do not edit.

A key that a newer binary has and this module does not know is left out of the types; `raw` of a
document has all of them.
"""

# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Row = dict[str, str | int | float | bool | None]
"""One row: osquery's columns, values as osquery sent them (nearly always strings)."""


@dataclass(frozen=True)
class Host:
    """One target."""

    status: Literal["ok", "error", "no_answer", "offline", "not_asked", "unsupported", "unknown"]
    """Where the target stands. `ok` answered with rows or none; `error` answered with an osquery error; `no_answer` asked and silent; `offline` the server said so and it stayed silent; `not_asked` the run ended before it was asked; `unsupported` a phone or tablet, which runs no osquery and was not asked; `unknown` not enrolled, or not visible to these credentials."""
    rows: int | None = None
    """Rows received. Before caps, so it may be more than `results` holds."""
    error: str | None = None
    """osquery's error. The message that the host sent."""
    hostname: str | None = None
    """Hostname. Of the host behind the key, where the key is another of its names (a uuid, a serial, NAME@UUID)."""
    uuid: str | None = None
    """Hardware uuid. Of the host behind the name, as the server spells it."""
    matched: Literal["computer_name", "short_name", "ip_address"] | None = None
    """What the key was compared with. Present where that is none of what identifies the host (uuid, serial, hostname): the computer's own name; or, where the step's `also_match` allows it, the part of a name before its first dot, or an address."""
    near: list[str] = field(default_factory=list)
    """Enrolled names that resemble it. Of a target that is `unknown`, where the search brought any: the likeliest first."""
    last_seen: str | None = None
    """Last seen. When the server had last seen the host as it was resolved (RFC 3339)."""
    answered_ms: int | None = None
    """Time of the answer. Milliseconds from the dispatch to the answer's arrival."""
    answered_at: str | None = None
    """Moment of the answer. When the answer arrived here (RFC 3339, UTC)."""
    truncated: bool = False
    """Rows of this target were cut."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Host:
        """Reads what the binary wrote."""
        return cls(
            status=value["status"],
            rows=value.get("rows"),
            error=value.get("error"),
            hostname=value.get("hostname"),
            uuid=value.get("uuid"),
            matched=value.get("matched"),
            near=list(value.get("near", [])),
            last_seen=value.get("last_seen"),
            answered_ms=value.get("answered_ms"),
            answered_at=value.get("answered_at"),
            truncated=value.get("truncated", False),
        )


@dataclass(frozen=True)
class CampaignSavedQuery:
    """The saved query that was run."""

    id: str
    """The server's id of it."""
    name: str
    """Its name there."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CampaignSavedQuery:
        """Reads what the binary wrote."""
        return cls(
            id=value["id"],
            name=value["name"],
        )


@dataclass(frozen=True)
class CampaignTimings:
    """Where the time went."""

    connect_ms: int | None = None
    """Connecting. From the first attempt (name, proxy, TCP, TLS) until a connection stood, or until the end where none did."""
    auth_ms: int | None = None
    """Logging in. Next to nothing with a token."""
    resolve_ms: int | None = None
    """Finding the hosts."""
    dispatch_ms: int | None = None
    """Starting the campaign. Until the server had taken it and was listened to."""
    first_answer_ms: int | None = None
    """The first answer. Of this run's, counted from the dispatch, as `answered_ms` is."""
    last_answer_ms: int | None = None
    """The last answer. Of this run's, counted from the dispatch."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CampaignTimings:
        """Reads what the binary wrote."""
        return cls(
            connect_ms=value.get("connect_ms"),
            auth_ms=value.get("auth_ms"),
            resolve_ms=value.get("resolve_ms"),
            dispatch_ms=value.get("dispatch_ms"),
            first_answer_ms=value.get("first_answer_ms"),
            last_answer_ms=value.get("last_answer_ms"),
        )


@dataclass(frozen=True)
class Campaign:
    """The campaign."""

    backend: Literal["fleetdm", "osctrl", "aisoc_direct"]
    """Which server."""
    id: str | None
    """The server's id. Fleet's campaign id or osctrl's query name; null where there is none. AiSOC's osquery service gives each host's query an id by which its rows can be written, so that none is shown."""
    targeted: int
    """Hosts asked. Enrolled hosts that the targets mean and that run osquery."""
    responded: int
    """Hosts that answered."""
    rows: int
    """Rows received. Of all hosts, before caps."""
    elapsed_ms: int
    """Duration. Milliseconds from the start of the process to the document."""
    other_ids: list[str] = field(default_factory=list)
    """Ids of further campaigns. Present where a run, or those that it resumes, needed several, and answers may still come to them: `--resume` reads them."""
    saved_query: CampaignSavedQuery | None = None
    """The saved query that was run. Present where the statement went through a query that the server keeps, since the token's role or the policy allows nothing else; its SQL is the step's, to the letter."""
    timings: CampaignTimings | None = None
    """Where the time went. Milliseconds, each where the run came so far. The first four follow each other: what connecting took is in none of the others."""
    may_be_running: bool = False
    """The server may still hand the query out. Present and true where the server was not known to have stopped when the document was written. It is told to stop right after; a token may not be allowed to."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Campaign:
        """Reads what the binary wrote."""
        return cls(
            backend=value["backend"],
            id=value["id"],
            other_ids=list(value.get("other_ids", [])),
            saved_query=CampaignSavedQuery.from_json(value["saved_query"]) if "saved_query" in value else None,
            targeted=value["targeted"],
            responded=value["responded"],
            rows=value["rows"],
            elapsed_ms=value["elapsed_ms"],
            timings=CampaignTimings.from_json(value["timings"]) if "timings" in value else None,
            may_be_running=value.get("may_be_running", False),
        )


@dataclass(frozen=True)
class Problem:
    """One problem."""

    path: str
    """Where in the step."""
    rule: str
    """Which rule."""
    message: str
    """What is wrong."""
    line: int | None = None
    """Line of the input, from one."""
    column: int | None = None
    """Column of the input in characters, from one."""
    stage: Literal["schema", "render", "allowlist", "policy"] | None = None
    """Which later stage found it. The code that the run would have failed with, had the earlier stages had nothing to object to. Absent where that is the error's own `code`."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Problem:
        """Reads what the binary wrote."""
        return cls(
            path=value["path"],
            rule=value["rule"],
            message=value["message"],
            line=value.get("line"),
            column=value.get("column"),
            stage=value.get("stage"),
        )


@dataclass(frozen=True)
class Error:
    """Why the run failed."""

    code: Literal["usage", "decode", "schema", "render", "allowlist", "policy", "auth", "targets", "backend", "unreachable", "busy", "deadline", "internal", "output"]
    """The class of failure."""
    exit_code: Literal[2, 10, 11, 12, 13, 14, 20, 21, 22, 23, 24, 25, 70, 74]
    """The exit status."""
    message: str
    """What was wrong, and where."""
    retryable: bool
    """Whether the same step may succeed later."""
    hint: str | None = None
    """What to do."""
    details: list[Problem] = field(default_factory=list)
    """Every single problem. Those of the stage that failed, then those that later stages would find."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Error:
        """Reads what the binary wrote."""
        return cls(
            code=value["code"],
            exit_code=value["exit_code"],
            message=value["message"],
            hint=value.get("hint"),
            retryable=value["retryable"],
            details=[Problem.from_json(item) for item in value.get("details", [])],
        )


@dataclass(frozen=True)
class Planned:
    """What `check` found."""

    sql: str
    """The SQL that would be sent."""
    hosts: list[str]
    """Who would be asked. Keys as they would stand in `results`."""
    unknown: list[str]
    """Targets that are not enrolled."""
    unresolved: bool = False
    """Whether the hosts are enrolled is not known. The server lists no hosts: whether one is enrolled comes out when it is asked, which runs the query there."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Planned:
        """Reads what the binary wrote."""
        return cls(
            sql=value["sql"],
            hosts=list(value["hosts"]),
            unknown=list(value["unknown"]),
            unresolved=value.get("unresolved", False),
        )


@dataclass(frozen=True)
class RunServer:
    """Which server was asked."""

    backend: Literal["fleetdm", "osctrl", "aisoc_direct"]
    """Which kind of server."""
    url: str
    """Its address."""
    environment: str | None = None
    """osctrl's environment."""
    tenant_id: str | None = None
    """The tenant at AiSOC's osquery service."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RunServer:
        """Reads what the binary wrote."""
        return cls(
            backend=value["backend"],
            url=value["url"],
            environment=value.get("environment"),
            tenant_id=value.get("tenant_id"),
        )


@dataclass(frozen=True)
class Run:
    """What makes the document evidence."""

    id: str
    """The run's uuid. The audit log has it, too."""
    version: str
    """Version of the program."""
    started_at: str
    """When the run began. RFC 3339, UTC."""
    finished_at: str
    """When the document was made. RFC 3339, UTC; never before `started_at`, also where the clock was set meanwhile."""
    step: str | None = None
    """The step's `id`."""
    template: str | None = None
    """The template that the step names."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """The template's parameters. As the step gives them, rendered."""
    sql: str | None = None
    """The SQL that the template became."""
    server: RunServer | None = None
    """Which server was asked."""
    as_of: str | None = None
    """What ages in the parameters count back from. RFC 3339, UTC: `-24h` in the parameters is a moment in the SQL. A run that resumes another has that one's."""
    resumes: str | None = None
    """The run that this one goes on with. Its uuid: the answers that came then are kept (`--resume`)."""
    traceparent: str | None = None
    """The trace that the run is part of. W3C Trace Context, from the variable TRACEPARENT; servers get it with every request."""
    note: str | None = None
    """What the answers leave open. The template's `limits`, where a host answered without rows or with a digest that is missing: why that may not mean that there is nothing."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Run:
        """Reads what the binary wrote."""
        return cls(
            id=value["id"],
            version=value["version"],
            step=value.get("step"),
            template=value.get("template"),
            parameters=dict(value.get("parameters", {})),
            sql=value.get("sql"),
            server=RunServer.from_json(value["server"]) if "server" in value else None,
            as_of=value.get("as_of"),
            resumes=value.get("resumes"),
            started_at=value["started_at"],
            finished_at=value["finished_at"],
            traceparent=value.get("traceparent"),
            note=value.get("note"),
        )


@dataclass(frozen=True)
class Document:
    """Output of osquery-live-query."""

    results: dict[str, list[Row]]
    """Rows by target. One key per target that answered: with rows, without any, or with an osquery error (then empty, and named in `failed_hosts`). Keys are the targets as the step wrote them, after rendering; hosts that a label or a platform brought in are named by hostname; several hosts behind one hostname stand as NAME@UUID."""
    partial: bool
    """Whether rows are missing. True whenever the rows are not all that was asked for: a target did not answer, an osquery error, rows cut by a cap, a cancelled or failed run. An empty list of rows is safe to read as `nothing there` when this is false."""
    timed_out_hosts: list[str]
    """Targets that did not answer. In the step's order; why each one is here says its `status` in `hosts`."""
    executed: bool
    """Whether at least one host was asked. False where the run ended before that, and for `check`."""
    run: Run
    """What makes the document evidence. Each as far as it is known, on failure too. Tokens and passwords are taken out."""
    failed_hosts: list[str] = field(default_factory=list)
    """Targets that answered with an osquery error. Present when not empty; the message is in `hosts`."""
    hosts: dict[str, Host] = field(default_factory=dict)
    """What became of each target. The same keys as `results` and `timed_out_hosts` together."""
    campaign: Campaign | None = None
    """The campaign. Counted in hosts, each once, however many names it stands under. Absent where the run ended before it was known which server to ask."""
    queued_until: str | None = None
    """The query stays with the server. Present with `offline_hosts: queue` where hosts have not answered: until then (RFC 3339, UTC) the server hands the query out to those that come back, and `run --resume` with this document brings their answers."""
    truncated: bool = False
    """Rows were cut. Present and true where `max_rows_per_host` or `max_bytes` cut rows; `hosts` says of which target."""
    cancelled: bool = False
    """Ended by a signal. Present and true after SIGINT or SIGTERM; there is no `error` then."""
    error: Error | None = None
    """Why the run failed."""
    planned: Planned | None = None
    """What `check` found. Nothing was dispatched."""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The JSON that was read, whole."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Document:
        """Reads what the binary wrote."""
        return cls(
            results={key: list(item) for key, item in value["results"].items()},
            partial=value["partial"],
            timed_out_hosts=list(value["timed_out_hosts"]),
            failed_hosts=list(value.get("failed_hosts", [])),
            executed=value["executed"],
            hosts={key: Host.from_json(item) for key, item in value.get("hosts", {}).items()},
            campaign=Campaign.from_json(value["campaign"]) if "campaign" in value else None,
            queued_until=value.get("queued_until"),
            truncated=value.get("truncated", False),
            cancelled=value.get("cancelled", False),
            error=Error.from_json(value["error"]) if "error" in value else None,
            planned=Planned.from_json(value["planned"]) if "planned" in value else None,
            run=Run.from_json(value["run"]),
            raw=value,
        )


@dataclass(frozen=True)
class HostLine:
    """A host's line with --format ndjson."""

    host: str
    """The target's key."""
    status: Literal["ok", "error"]
    rows: list[Row]
    """Rows of one target. osquery's columns only, values as osquery sent them (nearly always strings)."""
    error: str | None = None
    """osquery's error."""
    hostname: str | None = None
    """Its hostname, where the key is another of its names."""
    uuid: str | None = None
    """Its hardware uuid."""
    matched: Literal["computer_name", "short_name", "ip_address"] | None = None
    """What the key was compared with, where that is none of what identifies the host."""
    answered_at: str | None = None
    """When the answer arrived (RFC 3339, UTC)."""
    truncated: bool = False
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The JSON that was read, whole."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> HostLine:
        """Reads what the binary wrote."""
        return cls(
            host=value["host"],
            status=value["status"],
            error=value.get("error"),
            hostname=value.get("hostname"),
            uuid=value.get("uuid"),
            matched=value.get("matched"),
            answered_at=value.get("answered_at"),
            truncated=value.get("truncated", False),
            rows=list(value["rows"]),
            raw=value,
        )


@dataclass(frozen=True)
class SummaryLine:
    """The last line with --format ndjson."""

    partial: bool
    timed_out_hosts: list[str]
    executed: bool
    run: Run
    """What makes the document evidence. Each as far as it is known, on failure too. Tokens and passwords are taken out."""
    failed_hosts: list[str] = field(default_factory=list)
    hosts: dict[str, Host] = field(default_factory=dict)
    campaign: Campaign | None = None
    """The campaign. Counted in hosts, each once, however many names it stands under. Absent where the run ended before it was known which server to ask."""
    queued_until: str | None = None
    truncated: bool = False
    cancelled: bool = False
    error: Error | None = None
    """Why the run failed."""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The JSON that was read, whole."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SummaryLine:
        """Reads what the binary wrote."""
        return cls(
            partial=value["partial"],
            timed_out_hosts=list(value["timed_out_hosts"]),
            failed_hosts=list(value.get("failed_hosts", [])),
            executed=value["executed"],
            hosts={key: Host.from_json(item) for key, item in value.get("hosts", {}).items()},
            campaign=Campaign.from_json(value["campaign"]) if "campaign" in value else None,
            queued_until=value.get("queued_until"),
            truncated=value.get("truncated", False),
            cancelled=value.get("cancelled", False),
            error=Error.from_json(value["error"]) if "error" in value else None,
            run=Run.from_json(value["run"]),
            raw=value,
        )


@dataclass(frozen=True)
class DryRunProblem:
    """DryRunProblem."""

    rule: str
    """Which rule is broken, in a word."""
    severity: Literal["error", "warning"]
    """Whether the step would fail."""
    message: str
    """What is wrong and what to do; never a value."""
    line: int
    """From one."""
    column: int
    """In characters, from one."""
    step: str | None = None
    """The step's id, where the problem is in one."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DryRunProblem:
        """Reads what the binary wrote."""
        return cls(
            rule=value["rule"],
            severity=value["severity"],
            message=value["message"],
            line=value["line"],
            column=value["column"],
            step=value.get("step"),
        )


@dataclass(frozen=True)
class DryRunStepTargets:
    """DryRunStepTargets."""

    hosts: list[str]
    labels: list[str]
    platforms: list[Literal["linux", "darwin", "windows"]]
    teams: list[str] = field(default_factory=list)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DryRunStepTargets:
        """Reads what the binary wrote."""
        return cls(
            hosts=list(value["hosts"]),
            labels=list(value["labels"]),
            teams=list(value.get("teams", [])),
            platforms=list(value["platforms"]),
        )


@dataclass(frozen=True)
class DryRunStep:
    """A step of type `osquery_live_query`. What a step with problems does not tell is null."""

    id: str | None
    template: str | None
    """The allowlisted template's name."""
    sql: str | None
    """The SQL that would be sent; values that are not known yet stand in it as the step has them."""
    backend: Literal["fleetdm", "osctrl", "aisoc_direct"] | None
    targets: DryRunStepTargets | None
    timeout_seconds: int | str | None
    """The one deadline; as text where it is an expression."""
    exit_code: int | None = None
    """With `--simulate`: the exit status of the rehearsed run."""
    document: Any = None
    """With `--simulate`: the document of the rehearsed run."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DryRunStep:
        """Reads what the binary wrote."""
        return cls(
            id=value["id"],
            template=value["template"],
            sql=value["sql"],
            backend=value["backend"],
            targets=None if value["targets"] is None else DryRunStepTargets.from_json(value["targets"]),
            timeout_seconds=value["timeout_seconds"],
            exit_code=value.get("exit_code"),
            document=value.get("document"),
        )


@dataclass(frozen=True)
class DryRunFile:
    """DryRunFile."""

    path: str
    """As it was given or found; `-` is stdin."""
    problems: list[DryRunProblem]
    steps: list[DryRunStep]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DryRunFile:
        """Reads what the binary wrote."""
        return cls(
            path=value["path"],
            problems=[DryRunProblem.from_json(item) for item in value["problems"]],
            steps=[DryRunStep.from_json(item) for item in value["steps"]],
        )


@dataclass(frozen=True)
class DryRunSummary:
    """Summary."""

    files: int
    """Files that were read."""
    steps: int
    """Steps of type `osquery_live_query`."""
    errors: int
    """Problems that would fail."""
    warnings: int
    """Problems that would not."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DryRunSummary:
        """Reads what the binary wrote."""
        return cls(
            files=value["files"],
            steps=value["steps"],
            errors=value["errors"],
            warnings=value["warnings"],
        )


@dataclass(frozen=True)
class DryRunReport:
    """dry-run report."""

    files: list[DryRunFile]
    """Files. Every file that was read, in order of their paths."""
    summary: DryRunSummary
    """Summary. How many of each."""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The JSON that was read, whole."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DryRunReport:
        """Reads what the binary wrote."""
        return cls(
            files=[DryRunFile.from_json(item) for item in value["files"]],
            summary=DryRunSummary.from_json(value["summary"]),
            raw=value,
        )


@dataclass(frozen=True)
class EventHost:
    """The host, as the server knows it."""

    hostname: str
    id: int | None = None
    """The server's number for it."""
    uuid: str | None = None
    """Its hardware uuid."""
    display_name: str | None = None
    """How the server's own pages call it."""
    platform: str | None = None
    """The server's word for it."""
    status: Literal["online", "offline", "missing"] | None = None
    team_id: int | None = None
    last_seen: str | None = None
    """When the server last saw it, as the server writes it."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> EventHost:
        """Reads what the binary wrote."""
        return cls(
            id=value.get("id"),
            uuid=value.get("uuid"),
            hostname=value["hostname"],
            display_name=value.get("display_name"),
            platform=value.get("platform"),
            status=value.get("status"),
            team_id=value.get("team_id"),
            last_seen=value.get("last_seen"),
        )


@dataclass(frozen=True)
class EventQuery:
    """The query whose result it is."""

    name: str
    sql: str
    """As the server keeps it."""
    id: int | None = None
    """The server's number for it."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> EventQuery:
        """Reads what the binary wrote."""
        return cls(
            id=value.get("id"),
            name=value["name"],
            sql=value["sql"],
        )


@dataclass(frozen=True)
class Event:
    """Something that a poll found out."""

    id: str
    time: str
    """RFC 3339 in UTC, to the millisecond."""
    observed_at: str
    """RFC 3339 in UTC, to the millisecond."""
    category: Literal["endpoint"]
    kind: Literal["host", "query_row", "query_error", "report_clipped"]
    """`host`: its posture changed; `query_row`: a row of a query's result; `query_error`: osquery failed on a query; `report_clipped`: a report takes no more rows, so that it is out of date."""
    source: Literal["fleetdm", "osctrl"]
    """The connector."""
    severity: Literal["info", "low", "medium", "high", "critical"]
    title: str
    """One line for people, without anything that a row says."""
    dedupe_key: str
    hostname: str | None = None
    """The host's, as the server has it; empty where it has none."""
    host: EventHost | None = None
    """The host, as the server knows it."""
    osquery_table: str | None = None
    """The first of `osquery_tables`."""
    osquery_tables: list[str] = field(default_factory=list)
    """The tables that the query reads, as SQLite's parser finds them: those of FROM before those of the columns."""
    tables_unknown: str | None = None
    """Why nobody knows the query's tables; its rows are then of medium severity."""
    query: EventQuery | None = None
    """The query whose result it is."""
    row: dict[str, Any] = field(default_factory=dict)
    """The row's columns, as the server has them. Of a row that is gone only its `dedupe_key` may be known."""
    change: Literal["added", "removed", "present"] | None = None
    """What the row is to the rows of the host's result before: new among them, gone from them, or there, which nobody compared."""
    error: str | None = None
    """osquery's error."""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The JSON that was read, whole."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Event:
        """Reads what the binary wrote."""
        return cls(
            id=value["id"],
            time=value["time"],
            observed_at=value["observed_at"],
            category=value["category"],
            kind=value["kind"],
            source=value["source"],
            severity=value["severity"],
            title=value["title"],
            hostname=value.get("hostname"),
            host=EventHost.from_json(value["host"]) if "host" in value else None,
            osquery_table=value.get("osquery_table"),
            osquery_tables=list(value.get("osquery_tables", [])),
            tables_unknown=value.get("tables_unknown"),
            query=EventQuery.from_json(value["query"]) if "query" in value else None,
            row=dict(value.get("row", {})),
            change=value.get("change"),
            error=value.get("error"),
            dedupe_key=value["dedupe_key"],
            raw=value,
        )


@dataclass(frozen=True)
class CollectStream:
    """What came of one stream."""

    ok: bool
    events: int
    """Events of it that were written."""
    error: Error | None = None
    """As in the document of `run` (`schema output`)."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CollectStream:
        """Reads what the binary wrote."""
        return cls(
            ok=value["ok"],
            events=value["events"],
            error=Error.from_json(value["error"]) if "error" in value else None,
        )


@dataclass(frozen=True)
class CollectSummary:
    """The last line: what came of each stream."""

    kind: Literal["summary"]
    events: int
    """Events that were written."""
    streams: dict[str, CollectStream]
    next_since: str
    """RFC 3339 in UTC, to the millisecond."""
    cancelled: bool = False
    """A signal ended the poll."""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The JSON that was read, whole."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CollectSummary:
        """Reads what the binary wrote."""
        return cls(
            kind=value["kind"],
            events=value["events"],
            streams={key: CollectStream.from_json(item) for key, item in value["streams"].items()},
            next_since=value["next_since"],
            cancelled=value.get("cancelled", False),
            raw=value,
        )
