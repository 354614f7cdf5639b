"""The handler, called as the engine of AiSOC calls it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import FLEET_TOKEN, OSCTRL_TOKEN

import osquery_live_query as olq
from osquery_live_query import aisoc


class Engine:
    """As much of it as a handler sees: a map of handlers, retries, and a context that results are copied into."""

    def __init__(self, **options: Any) -> None:
        self.handlers: dict[str, aisoc.Handler] = {}
        aisoc.register(self.handlers, **options)

    async def play(self, steps: list[dict[str, Any]], alert: dict[str, Any]) -> dict[str, Any]:
        context = dict(alert)
        for step in steps:
            for tries_left in range(step.get("retry_max", 0), -1, -1):
                try:
                    result = await self.handlers[step["type"]](step, context, object())
                    break
                except Exception:
                    if tries_left == 0:
                        raise
            context[f"_step_{step['id']}"] = result
            context.update({key: value for key, value in result.items() if not key.startswith("_")})
        return context


def played(step: dict[str, Any], alert: dict[str, Any], **options: Any) -> dict[str, Any]:
    return asyncio.run(Engine(**options).play([step], alert))


def published(**params: Any) -> dict[str, Any]:
    """A step in the shape of the published packs, with all the engine's own keys."""
    return {
        "id": "s1",
        "name": "Processes of the host",
        "type": "osquery_live_query",
        "params": {"template": "running_processes", "template_params": {"limit": 5}, **params},
        "condition": "host is not null",
        "on_failure": "retry",
        "retry_max": 2,
        "timeout_seconds": 120,
        "next_true": "s2",
        "instance": "the engine's own",
    }


def osctrl(server: str, **params: Any) -> dict[str, Any]:
    return published(base_url=server, environment="dev", api_token=OSCTRL_TOKEN, **params)


def fleet(server: str, **params: Any) -> dict[str, Any]:
    return published(backend="fleetdm", base_url=server, api_token=FLEET_TOKEN, **params)


def direct(server: str, **params: Any) -> dict[str, Any]:
    tenant = "00000000-0000-0000-0000-000000000001"
    where = {"backend": "aisoc_direct", "base_url": server, "tenant_id": tenant, "api_token": "aisoc-service-token"}
    return published(**where, **params)


@pytest.mark.parametrize("of", [osctrl, fleet, direct])
def test_rows_come_back_and_nothing_of_the_alert_is_replaced(server: str, of: Any) -> None:
    alert = {"host": "web-01", "hosts": ["as the alert has it"], "run": 7, "error": None}
    context = played(of(server, target_hosts=["{{ host }}"]), alert)
    assert len(context["results"]["web-01"]) == 5
    assert (context["partial"], context["timed_out_hosts"], context["executed"]) == (False, [], True)
    assert (context["hosts"], context["run"], context["error"]) == (["as the alert has it"], 7, None)
    whole = context["_step_s1"][aisoc.DOCUMENT]
    assert whole["hosts"]["web-01"]["status"] == "ok"
    json.dumps(context)


@pytest.mark.parametrize("written", [{}, {"target_hosts": []}, {"target_hosts": ""}, {"target_hosts": None}])
@pytest.mark.parametrize("key", aisoc.HOST_KEYS)
def test_without_targets_the_alerts_host_is_asked(server: str, key: str, written: dict[str, Any]) -> None:
    context = played(osctrl(server, **written), {key: "web-01", "severity": "high"})
    assert list(context["results"]) == ["web-01"]


def test_an_instance_brings_its_own_credentials(server: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(FLEET_TOKEN)
    (tmp_path / "token").chmod(0o600)
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        f"require_instance: true\n"
        f"instances:\n  corp:\n    backend: fleetdm\n    base_url: {server}\n"
        f"    credentials: {{api_token: {{file: token}}}}\n"
    )
    tmp_path.chmod(0o700)
    context = played(published(instance_id="corp"), {"host": "web-01"}, policy=policy)
    assert list(context["results"]) == ["web-01"]
    with pytest.raises(olq.PolicyError):
        played(fleet(server), {"host": "web-01"}, policy=policy)


def test_a_failure_is_an_exception(server: str) -> None:
    with pytest.raises(olq.TargetsError, match="gone"):
        played(osctrl(server), {"host": "gone"})
    with pytest.raises(olq.SchemaError):
        played(osctrl(server), {"severity": "high"})


@pytest.mark.parametrize(
    ("written", "bounded"),
    [({}, 60), ({"timeout_seconds": 900}, 300), ({"timeout_seconds": 0}, 1), ({"timeout_seconds": "45"}, 45)],
)
def test_timeouts_are_bounded_as_the_engine_bounds_them(written: dict[str, Any], bounded: int) -> None:
    step = aisoc.prepared(published(**written), {"host": "web-01"})
    assert step["params"]["timeout_seconds"] == bounded
    assert set(step) == {"id", "name", "type", "params"}


def test_only_what_expressions_name_is_handed_on() -> None:
    params = {
        "target_hosts": ["{{ alert.host }}", "{{hosts[0]}}"],
        "api_token": "{{ secrets.t }}",
        "x": [{"y": "{{ z }}"}],
    }
    assert aisoc.roots(params) == {"alert", "hosts", "z"}


def test_a_step_after_another_sees_its_results(server: str) -> None:
    steps = [
        {**osctrl(server, target_hosts=["web-01", "laptop"], timeout_seconds=2), "id": "one"},
        {**osctrl(server, target_hosts="{{ timed_out_hosts }}", timeout_seconds=2), "id": "two"},
    ]
    context = asyncio.run(Engine().play(steps, {"host": "web-01"}))
    assert context["timed_out_hosts"] == ["laptop"]
    assert context["_step_one"]["results"] != context["_step_two"]["results"] == {}
