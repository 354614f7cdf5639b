"""The official Python SDK against `demo --mcp` (argument: the binary): both eras, every tool, consent,
progress, what is cut, a refusal. The SDK checks each answer against the tool's output schema itself."""

import asyncio
import sys

from mcp import Client, StdioServerParameters, types

SERVER = StdioServerParameters(command=sys.argv[1], args=["demo", "--mcp"])
TOOLS = ["find_templates", "describe_template", "find_hosts", "plan_live_query", "run_live_query", "read_rows"]


async def everything(mode: str) -> None:
    asked, told, unlisted = [], [], []

    async def elicit(context, params):
        asked.append(params.message)
        return types.ElicitResult(action="accept", content={"run": True})

    async def progress(done, total, message):
        told.append((done, total))

    async with Client(SERVER, mode=mode, elicitation_callback=elicit) as client:
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == TOOLS, tools
        assert all(tool.output_schema and tool.annotations for tool in tools)
        instances = tools[2].input_schema["properties"]["instance"]["enum"]
        assert len(instances) >= 2, instances

        async def call(name, arguments, **more):
            result = await client.call_tool(name, arguments, **more)
            assert not result.is_error, result
            return result.structured_content

        found = await call("find_templates", {"text": "running processes"})
        assert found["templates"][0]["name"] == "running_processes", found
        described = await call("describe_template", {"name": "running_processes"})
        assert "pid" in described["columns"], described
        for instance in instances:
            searched = await client.call_tool("find_hosts", {"instance": instance, "text": "web"})
            if searched.is_error:
                # One kind of server lists no hosts, and takes no groups of them.
                assert "can't be searched for hosts" in searched.content[0].text, searched
                unlisted.append(instance)
                continue
            hosts = searched.structured_content
            assert {host["name"] for host in hosts["hosts"]} == {"web-01", "web-02"}, hosts
            query = {"instance": instance, "template": "running_processes", "target_hosts": ["web-01", "web-02"]}
            plan = await call("plan_live_query", query)
            assert plan["targeted"] == 2 and not plan["needs_confirmation"], plan
            document = await call("run_live_query", query, progress_callback=progress)
            assert document["partial"] is False and document["untrusted"] is True, document
            page = await call("read_rows", {"run": document["run"]["id"], "host": "web-01", "limit": 2})
            assert page["rows"] == document["results"]["web-01"][:2], page
            # The demo's policy wants a person's word above three hosts.
            many = {"instance": instance, "template": "logged_in_users", "target_platforms": ["linux"], "timeout_seconds": 3}
            document = await call("run_live_query", many)
            assert document["counts"]["targets"] == 4, document
        assert len(asked) == len(instances) - len(unlisted) >= 2 and "on 4 hosts" in asked[0], asked
        assert told and told[-1][1] == 2, told
        refused = await client.call_tool("run_live_query", {**query, "template": "no_such"})
        assert refused.is_error and '"code":"allowlist"' in refused.content[0].text, refused
        resource = await client.read_resource("template:///running_processes")
        assert "SELECT * FROM processes" in resource.contents[0].text
    print(f"Python SDK, {mode}: all six tools, consent, progress, refusals")


async def main() -> None:
    for mode in sys.argv[2:]:
        await everything(mode)


asyncio.run(main())
