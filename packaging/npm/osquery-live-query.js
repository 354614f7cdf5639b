#!/usr/bin/env node
"use strict";
// Starts the program that this platform's package brings, as if it had been called itself: the same arguments, streams
// and status. It gets a process group of its own, so that Ctrl-C reaches it once, from here: a second signal would end
// its tidying up. Where this process is killed, the program notices and stops its campaign.
const { spawn } = require("node:child_process");
const { constants } = require("node:os");

const name = `osquery-live-query-${process.platform}-${process.arch}`;
let program;
try {
  program = require.resolve(`${name}/osquery-live-query`);
} catch {
  console.error(`error: npm has no osquery-live-query for ${process.platform} on ${process.arch}`);
  console.error(`hint: where ${name} exists, install without --omit=optional; else use \`cargo install osquery-live-query\``);
  process.exit(127);
}
const child = spawn(program, process.argv.slice(2), { stdio: "inherit", detached: true });
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => child.kill(signal));
}
child.on("error", (error) => {
  console.error(`error: ${program} can't be started: ${error.message}`);
  process.exit(126);
});
child.on("exit", (status, signal) => process.exit(signal ? 128 + constants.signals[signal] : status));
