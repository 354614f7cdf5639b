// ajv's strict mode takes every schema that the binary prints, in both forms, without a word, and the
// examples in each. Arguments: the binary.

import { execFileSync } from "node:child_process";
import Ajv2020 from "ajv/dist/2020.js";

const [binary] = process.argv.slice(2);
const print = (...args) => execFileSync(binary, args, { encoding: "utf8" });
const { schemas } = JSON.parse(print("describe"));
const faults = [];

for (const name of schemas) {
  for (const flags of [[], ["--plain"]]) {
    const about = ["schema", name, ...flags].join(" ");
    const say = (...words) => faults.push(`${about}: ${words.join(" ")}`);
    const ajv = new Ajv2020.default({ strict: true, allErrors: true, logger: { log: say, warn: say, error: say } });
    try {
      const schema = JSON.parse(print("schema", name, ...flags));
      const valid = ajv.compile(schema);
      for (const example of schema.examples ?? []) {
        if (!valid(example)) say(ajv.errorsText(valid.errors));
      }
    } catch (error) {
      say(error.message);
    }
  }
}

const step = new Ajv2020.default({ strict: true }).compile(JSON.parse(print("schema", "step")));
const params = { instance: "corp", target_hosts: ["web-01"] };
const of = (template, template_params) => ({ type: "osquery_live_query", params: { ...params, template, template_params } });
for (const [value, expected] of [
  [of("running_processes", { limit: 5 }), true],
  [[of("running_processes", { limit: "{{ alert.limit }}" })], true],
  [of("running_processes", { limit: 0 }), false],
  [of("runing_processes", {}), false],
  [of("process_tree", {}), false],
  [of("uptime", { limit: 1 }), false],
  [[], false],
]) {
  if (step(value) !== expected) faults.push(`schema step says ${!expected} of ${JSON.stringify(value)}`);
}

for (const fault of faults) console.error(fault);
if (schemas.length < 8) throw new Error("not all schemas are there");
process.exitCode = faults.length > 0 ? 1 : 0;
