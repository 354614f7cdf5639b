"""A real Temporal server on loopback, with its SQLite store in a folder so that it can be restarted."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

NAMESPACE = "hunts"
SERVICES = ("frontend", "matching", "history", "worker")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class TemporalServer:
    """The program that `TEMPORAL_SERVER` names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ports = free_ports(9)
        self.address = f"127.0.0.1:{ports[0]}"
        store = {
            "sql": {
                "pluginName": "sqlite",
                "databaseName": str(folder / "temporal.db"),
                "connectAddr": "localhost",
                "connectProtocol": "tcp",
                "connectAttributes": {"cache": "private", "setup": "true", "journal_mode": "wal"},
                "maxConns": 1,
                "maxIdleConns": 1,
                "maxConnLifetime": "1h",
            }
        }
        rpc = {
            name: {"rpc": {"grpcPort": ports[2 * at], "membershipPort": ports[2 * at + 1], "bindOnLocalHost": True}}
            for at, name in enumerate(SERVICES)
        }
        config: dict[str, Any] = {
            "log": {"stdout": True, "level": "error"},
            "persistence": {
                "defaultStore": "sqlite",
                "visibilityStore": "sqlite",
                "numHistoryShards": 1,
                "datastores": {"sqlite": store},
            },
            "global": {"membership": {"maxJoinDuration": "30s", "broadcastAddress": "127.0.0.1"}},
            "services": rpc,
            "clusterMetadata": {
                "enableGlobalNamespace": False,
                "failoverVersionIncrement": 10,
                "masterClusterName": "active",
                "currentClusterName": "active",
                "clusterInformation": {
                    "active": {
                        "enabled": True,
                        "initialFailoverVersion": 1,
                        "rpcName": "frontend",
                        "rpcAddress": self.address,
                    }
                },
            },
            "dcRedirectionPolicy": {"policy": "noop"},
        }
        self.config = folder / "temporal.yaml"
        # JSON is YAML.
        self.config.write_text(json.dumps(config))
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, over what it kept."""
        command = [os.environ["TEMPORAL_SERVER"], "--config-file", self.config, "--allow-no-auth", "start"]
        with (self.folder / "temporal.log").open("ab") as log:
            self.child = subprocess.Popen(command, stdout=log, stderr=log)

    def stop(self) -> None:
        """Stops it."""
        if self.child is not None:
            self.child.terminate()
            try:
                self.child.wait(20)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()

    async def client(self) -> Client:
        """A client, once the server answers and has its namespace."""
        request = RegisterNamespaceRequest(namespace=NAMESPACE)
        request.workflow_execution_retention_period.FromSeconds(86_400)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                client = await Client.connect(self.address, namespace=NAMESPACE)
                await client.workflow_service.register_namespace(request)
                return client
            except RPCError as error:
                if error.status == RPCStatusCode.ALREADY_EXISTS:
                    return client
            except RuntimeError:
                pass
            await asyncio.sleep(0.1)
        raise AssertionError((self.folder / "temporal.log").read_text()[-4000:])
