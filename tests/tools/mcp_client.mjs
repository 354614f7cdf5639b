// The official TypeScript SDKs against `demo --mcp` (argument: the binary): every tool, consent, progress, a
// refusal. The first one, which most clients still have, only shakes hands; the second speaks both eras. Each
// checks each answer against the tool's output schema itself.
import assert from "node:assert/strict";
import * as second from "@modelcontextprotocol/client";
import { StdioClientTransport as SecondTransport } from "@modelcontextprotocol/client/stdio";
import { Client as FirstClient } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport as FirstTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";

const SERVER = { command: process.argv[2], args: ["demo", "--mcp"] };
const SELF = { name: "tested-client", version: "1" };
const capabilities = { elicitation: { form: {} } };

/** What the SDKs differ in: a client that is connected, whose user is `user`, and how it calls a tool. */
async function first(user) {
  const client = new FirstClient(SELF, { capabilities });
  client.setRequestHandler(ElicitRequestSchema, user);
  await client.connect(new FirstTransport(SERVER));
  return [client, (params, options) => client.callTool(params, undefined, options)];
}

async function both(user, mode, era) {
  const client = new second.Client(SELF, { capabilities, versionNegotiation: { mode } });
  client.setRequestHandler("elicitation/create", user);
  await client.connect(new SecondTransport(SERVER));
  assert.equal(client.getProtocolEra(), era);
  return [client, (params, options) => client.callTool(params, options)];
}

async function everything(connected) {
  const asked = [];
  const [client, callTool] = await connected(async (request) => {
    asked.push(request.params.message);
    return { action: "accept", content: { run: true } };
  });
  assert.equal(client.getServerVersion().name, "osquery-live-query");
  const { tools } = await client.listTools();
  assert.equal(tools.length, 6);
  const call = async (name, args, options) => {
    const result = await callTool({ name, arguments: args }, options);
    assert.ok(!result.isError, JSON.stringify(result));
    return result.structuredContent;
  };
  const found = await call("find_templates", { text: "running processes" });
  assert.equal(found.templates[0].name, "running_processes");
  assert.ok((await call("describe_template", { name: "running_processes" })).columns.includes("pid"));
  const told = [];
  const unlisted = [];
  const instances = tools[2].inputSchema.properties.instance.enum;
  for (const instance of instances) {
    const searched = await callTool({ name: "find_hosts", arguments: { instance, text: "web" } });
    if (searched.isError) {
      // One kind of server lists no hosts, and takes no groups of them.
      assert.match(searched.content[0].text, /can't be searched for hosts/);
      unlisted.push(instance);
      continue;
    }
    const hosts = searched.structuredContent;
    assert.deepEqual(hosts.hosts.map((host) => host.name).sort(), ["web-01", "web-02"]);
    const query = { instance, template: "running_processes", target_hosts: ["web-01", "web-02"] };
    assert.equal((await call("plan_live_query", query)).targeted, 2);
    const document = await call("run_live_query", query, { onprogress: (progress) => told.push(progress) });
    assert.equal(document.partial, false);
    const page = await call("read_rows", { run: document.run.id, host: "web-01", limit: 2 });
    assert.deepEqual(page.rows, document.results["web-01"].slice(0, 2));
    const many = { instance, template: "logged_in_users", target_platforms: ["linux"], timeout_seconds: 3 };
    assert.equal((await call("run_live_query", many)).counts.targets, 4);
  }
  assert.equal(asked.length, instances.length - unlisted.length);
  assert.ok(asked.length >= 2);
  assert.match(asked[0], /on 4 hosts/);
  assert.ok(told.length > 0 && told.every((progress) => progress.total === 2));
  const refused = await callTool({ name: "run_live_query", arguments: { instance: instances[0], template: "no_such", target_hosts: ["web-01"] } });
  assert.ok(refused.isError && refused.content[0].text.includes('"code":"allowlist"'));
  const resource = await client.readResource({ uri: "template:///running_processes" });
  assert.match(resource.contents[0].text, /SELECT \* FROM processes/);
  await client.close();
}

const clients = {
  "1, 2025-11-25": (user) => first(user),
  "2, 2025-11-25": (user) => both(user, "legacy", "legacy"),
  "2, 2026-07-28": (user) => both(user, { pin: "2026-07-28" }, "modern"),
  "2, which asks first": (user) => both(user, "auto", "modern"),
};
for (const [name, connected] of Object.entries(clients)) {
  await everything(connected);
  console.log(`TypeScript SDK ${name}: all six tools, consent, progress, refusals`);
}
