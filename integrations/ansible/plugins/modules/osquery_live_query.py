#!/usr/bin/python
"""The module: one step in, its document out."""

from __future__ import annotations

DOCUMENTATION = r"""
module: osquery_live_query
short_description: Run one allowlisted osquery live query through Fleet or osctrl
description:
  - Starts the program C(osquery-live-query) with one step and returns its document.
  - A step names a template of the allowlist and never SQL.
  - Hosts that did not answer are no failure; they are listed in RV(timed_out_hosts).
  - In check mode the step is checked against the real server, and nothing is dispatched.
attributes:
  check_mode:
    support: full
    description: The step, the credentials and the targets are checked; nothing is dispatched.
  diff_mode:
    support: full
    description: In check mode, shows the SQL that would be sent and the hosts that would be asked.
options:
  params:
    description:
      - The step's C(params) without credentials, such as C(backend), C(base_url), C(template) and C(target_hosts).
      - C(osquery-live-query schema step) describes every key.
    type: dict
    required: true
  id:
    description: The step's id, for the document and the audit log.
    type: str
  context:
    description:
      - What expressions in O(params) are looked up in.
      - Ansible fills in C({{ }}) itself; mark a text as C(!unsafe) where the expression is meant for the program.
    type: dict
  api_token:
    description: The server's token. Not logged, and handed to the program on stdin only.
    type: str
  username:
    description: A user of the server, with O(password).
    type: str
  password:
    description: The password of O(username). Not logged, and handed to the program on stdin only.
    type: str
  policy:
    description: The operator's policy file; its instances bring their own credentials.
    type: path
  resume:
    description: A file with an earlier document of the same step; hosts that answered then are kept.
    type: path
  fail_on_partial:
    description: Whether it is a failure that a host did not answer.
    type: bool
    default: false
  executable:
    description: The program, where it is not on the C(PATH).
    type: path
requirements: [osquery-live-query]
author: [The authors of osquery-live-query (@osquery_live_query)]
"""

EXAMPLES = r"""
- name: Ask two hosts for their processes
  osquery_live_query.core.osquery_live_query:
    params:
      backend: fleetdm
      base_url: https://fleet.corp.example.com
      template: running_processes
      target_hosts: [web-01, web-02]
    api_token: "{{ fleet_token }}"
  delegate_to: localhost
  register: processes

- name: Say who did not answer
  ansible.builtin.debug:
    msg: "no answer: {{ processes.timed_out_hosts }}"
  when: processes.partial

- name: Ask the host of an alert, with expressions that are the program's own
  osquery_live_query.core.osquery_live_query:
    params:
      instance: corp
      template: logged_in_users
      target_hosts: [!unsafe "{{ alert.host }}"]
    context:
      alert: "{{ alert }}"
    policy: /etc/osquery-live-query/policy.yaml
  delegate_to: localhost
"""

RETURN = r"""
changed:
  description: Always false, but in check mode, where it says whether a host would be asked.
  returned: always
  type: bool
answers:
  description: What became of each target, one item each.
  returned: success
  type: list
  elements: dict
  contains:
    host:
      description: The target, as the step has it.
      type: str
    status:
      description: V(ok), V(error), V(no_answer), V(offline), V(not_asked), V(unsupported) or V(unknown).
      type: str
    rows:
      description: The rows; none for a target that did not answer.
      type: list
      elements: dict
    error:
      description: osquery's error.
      type: str
partial:
  description: Whether the rows are not all that was asked for.
  returned: success
  type: bool
timed_out_hosts:
  description: Targets that did not answer.
  returned: success
  type: list
  elements: str
planned:
  description: In check mode, the SQL and the hosts that would be asked.
  returned: in check mode
  type: dict
document:
  description: The whole document, also where the run failed.
  returned: always
  type: dict
"""

import json

from ansible.module_utils.basic import AnsibleModule

SECRETS = ("api_token", "username", "password")


def invocation(module):
    """What goes to the program's stdin. Credentials are secrets, so that no message ever shows them."""
    params = dict(module.params["params"])
    secrets = {}
    for name in SECRETS:
        if module.params[name] is not None:
            secrets[name] = module.params[name]
            params[name] = f"{{{{ secrets.{name} }}}}"
    step = {"type": "osquery_live_query", "params": params}
    if module.params["id"] is not None:
        step["id"] = module.params["id"]
    whole = {"protocol": 1, "step": step, "secrets": secrets}
    if module.params["context"] is not None:
        whole["context"] = module.params["context"]
    return json.dumps(whole)


def answers(document):
    """One item for each target, in the order of the document."""
    items = []
    for name, host in document.get("hosts", {}).items():
        item = dict(host)
        item["host"] = name
        item["rows"] = document["results"].get(name, [])
        items.append(item)
    return items


def finish(module, document) -> None:
    """Ends the module with the document."""
    facts = {
        # A query changes nothing; what would be asked is shown only of a task that says so.
        "changed": bool(document.get("planned", {}).get("hosts")),
        "document": document,
        "answers": answers(document),
        "partial": document["partial"],
        "timed_out_hosts": document["timed_out_hosts"],
    }
    if "planned" in document:
        planned = document["planned"]
        facts["planned"] = planned
        plan = "\n".join([planned["sql"], *planned["hosts"], ""])
        facts["diff"] = {"before": "", "after": plan, "after_header": "what is sent, and to whom"}
    error = document.get("error")
    if error is not None:
        message = error["message"]
        if error.get("hint"):
            message = "{} ({})".format(message, error["hint"])
        module.fail_json(msg=message, code=error["code"], retryable=error["retryable"], **facts)
    if document.get("cancelled"):
        module.fail_json(msg="the run was ended by a signal, before every host had answered", **facts)
    if document["partial"] and module.params["fail_on_partial"]:
        module.fail_json(msg="not all rows that were asked for came: see `answers`", **facts)
    module.exit_json(**facts)


def main() -> None:
    """The module's entry."""
    module = AnsibleModule(
        argument_spec={
            "params": {"type": "dict", "required": True},
            "id": {"type": "str"},
            "context": {"type": "dict"},
            "api_token": {"type": "str", "no_log": True},
            "username": {"type": "str"},
            "password": {"type": "str", "no_log": True},
            "policy": {"type": "path"},
            "resume": {"type": "path"},
            "fail_on_partial": {"type": "bool", "default": False},
            "executable": {"type": "path"},
        },
        mutually_exclusive=[("api_token", "username"), ("api_token", "password")],
        required_together=[("username", "password")],
        supports_check_mode=True,
    )
    program = module.params["executable"] or module.get_bin_path("osquery-live-query", required=True)
    command = [program, "check" if module.check_mode else "run", "--exit-with-parent", "--log", "json"]
    for flag in ("policy", "resume"):
        if module.params[flag] is not None:
            command += [f"--{flag}", module.params[flag]]
    status, stdout, stderr = module.run_command(command, data=invocation(module), binary_data=True)
    for line in stderr.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            entry = {"level": "WARN", "message": line}
        if entry.get("level") == "WARN":
            module.warn(entry["message"])
    try:
        document = json.loads(stdout)
    except ValueError:
        module.fail_json(msg=f"{program} ended with the status {status} and without a document", stderr=stderr)
    finish(module, document)


if __name__ == "__main__":
    main()
