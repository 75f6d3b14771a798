#!/usr/bin/python
# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: wait_for_metadata
short_description: Wait until a VM's metadata is as wanted
version_added: 0.1.0
description:
  - Waits until a key of the metadata server changes, appears, goes away, or has a certain value.
  - The request hangs at the server until there is something new, so that the task goes on as soon as there is, and no
    change between two requests is missed.
  - Answers that the server is unavailable and lost connections are survived for as long as there is time.
author:
  - The gce.guest authors (@gce-guest)
extends_documentation_fragment:
  - gce.guest._attributes
  - gce.guest._attributes.info_module
  - gce.guest._attributes.actiongroup_guest
  - gce.guest._guest
  - gce.guest._guest.secrets
options:
  path:
    description:
      - What to watch, below C(/computeMetadata/v1/), such as V(instance/attributes/phase).
      - A directory counts with all that is below it. If it is not a well-known one, it needs a slash at its end.
    type: str
    required: true
  state:
    description:
      - V(changed) waits for another value than there was at first, or at O(last_etag). That a key appears or goes away
        is a change, too.
      - V(present) waits until there is such a key, and V(absent) until there is none.
      - Exactly one of O(state), O(equals), O(matches) and O(query) says what to wait for.
    type: str
    choices: [changed, present, absent]
  last_etag:
    description:
      - The etag of the value that is known already, as from RV(gce.guest.metadata_info#module:etag), for
        O(state=changed).
      - If the value has changed since then, there is nothing to wait for.
    type: str
  equals:
    description:
      - Waits until the value is this.
      - Booleans stand for V(TRUE) and V(FALSE), the way the metadata server writes them, and numbers for their digits.
    type: raw
  matches:
    description: Waits until this regular expression has a match anywhere in the value.
    type: str
  query:
    description:
      - Waits until this JMESPath expression over the value is true, which is anything but V(false), V(null), and what
        is empty.
      - It sees the value as RV(value) has it, with secrets redacted.
      - Needs C(jmespath) where the module runs.
    type: str
  timeout:
    description:
      - After how many seconds the wait ends in a failure, on a clock that no correction of the time moves.
      - If the server falls silent in the last of them, it takes up to 10 seconds longer.
    type: float
    default: 300.0
  retry_for:
    description:
      - For how many seconds to try until the server answers for the first time.
      - Once it has, outages are survived for as long as O(timeout) allows.
requirements:
  - jmespath, for O(query)
seealso:
  - module: gce.guest.metadata_info
  - module: gce.guest.maintenance_info
"""

EXAMPLES = r"""
- name: Wait until someone sets the phase of the rollout
  gce.guest.wait_for_metadata:
    path: project/attributes/rollout
    matches: ^(canary|everyone)$
    timeout: 60

- name: Wait until this VM may be drained
  gce.guest.wait_for_metadata:
    path: instance/attributes/
    query: drain == 'TRUE' && role != 'primary'
    timeout: 60

- name: Read the configuration
  gce.guest.metadata_info:
    path: instance/attributes/app-config
  register: config

- name: Wait for the next change of what was read
  gce.guest.wait_for_metadata:
    path: instance/attributes/app-config
    state: changed
    last_etag: "{{ config.etag }}"
    timeout: 60
  register: changed_config

- name: Wait until no maintenance is going on
  gce.guest.wait_for_metadata:
    path: instance/maintenance-event
    equals: NONE
    timeout: 60
"""

RETURN = r"""
found:
  description: Whether there was such a key in the end.
  returned: unless nothing was heard of it
  type: bool
  sample: true
value:
  description:
    - The value or tree in the end, typed and redacted as M(gce.guest.metadata_info) does it.
    - V(null) if there is no such key.
  returned: unless nothing was heard of it
  type: raw
  sample: canary
etag:
  description:
    - What the server calls this content, for O(last_etag) of the next wait.
    - V(null) if there is no such key.
  returned: unless nothing was heard of it
  type: str
  sample: 411261ca6c9e654e
elapsed:
  description: How many seconds the wait took.
  returned: unless nothing was heard of it
  type: float
  sample: 12.7
"""

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gce.guest.plugins.module_utils._metadata_server import encoded_path
from ansible_collections.gce.guest.plugins.module_utils._metadata_tree import as_unicode, is_directory, typed
from ansible_collections.gce.guest.plugins.module_utils._module import (
    GUEST_ARGSPEC,
    SECRETS_ARGSPEC,
    ArgumentSpec,
    compiled_pattern,
    compiled_query,
    failing,
    metadata_server,
    secret_patterns,
)
from ansible_collections.gce.guest.plugins.module_utils._secrets import redact_tree
from ansible_collections.gce.guest.plugins.module_utils._waiting import Changed, Outcome, Seen, wait_until

CONDITIONS = ("state", "equals", "matches", "query")
MOST_CHARACTERS_SHOWN = 200


def main() -> None:
    spec = ArgumentSpec(
        {
            "path": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["changed", "present", "absent"]},
            "last_etag": {"type": "str"},
            "equals": {"type": "raw"},
            "matches": {"type": "str"},
            "query": {"type": "str"},
            "timeout": {"type": "float", "default": 300.0},
        },
        mutually_exclusive=[CONDITIONS],
        required_one_of=[CONDITIONS],
        required_by={"last_etag": ["state"]},
    )
    module = spec.update(GUEST_ARGSPEC).update(SECRETS_ARGSPEC).create_module()
    params = module.params
    with failing(module):
        encoded_path(params["path"])
        check(module)
        show = presentation(module)
        is_met = condition(module, show)
        # The waiting survives outages by itself.
        with closing(metadata_server(module, retry_for=0.0)) as server:
            outcome = wait_until(
                server, params["path"], is_met, timeout=params["timeout"], retry_for=params["retry_for"]
            )
    result: dict[str, Any] = {"elapsed": round(outcome.elapsed, 3)}
    if outcome.seen is not None:
        result.update(found=outcome.seen.found, value=show(outcome.seen), etag=outcome.seen.etag)
    if not outcome.met:
        module.fail_json(msg=failure(params, outcome, result), **result)
    module.exit_json(changed=False, **result)


def check(module: AnsibleModule) -> None:
    """Refuse parameters that contradict each other, before anything is sent."""
    params = module.params
    if not params["timeout"] >= 0:
        module.fail_json(msg=f"timeout is {params['timeout']:g}, but seconds to wait cannot be less than 0.")
    if params["last_etag"] is not None and params["state"] != "changed":
        module.fail_json(msg=f"last_etag is for state=changed, not for state={params['state']}.")
    if is_directory(params["path"]) and (params["equals"] is not None or params["matches"] is not None):
        module.fail_json(msg=f"{params['path'] or 'The root'} is a directory. Use query to wait for something in it.")
    if not isinstance(params["equals"], (str, bool, int, float, type(None))):
        module.fail_json(msg="equals takes text, a number or a boolean. Use query for more than that.")


def condition(module: AnsibleModule, show: Callable[[Seen], Any]) -> Callable[[Seen], bool]:
    """What to wait for."""
    params = module.params
    if params["equals"] is not None:
        wanted = as_text(params["equals"])
        return lambda seen: seen.found and as_text(seen.value) == wanted
    if params["matches"] is not None:
        pattern = compiled_pattern(module, params["matches"], "matches")
        return lambda seen: seen.found and pattern.search(as_text(seen.value)) is not None
    if params["query"] is not None:
        # Over what is shown, as an error of JMESPath quotes the value.
        search = compiled_query(module, params["query"])
        return lambda seen: seen.found and is_true(search(show(seen)))
    if params["state"] == "changed":
        return Changed(params["last_etag"])
    return lambda seen: seen.found == (params["state"] == "present")


def as_text(value: Any) -> str:
    """A value as the metadata server writes it."""
    if isinstance(value, bool):
        return str(value).upper()
    return value if isinstance(value, str) else json.dumps(value)


def is_true(result: Any) -> bool:
    """What JMESPath calls true: 0 is."""
    return not (result is None or result is False or result in ("", [], {}))


def presentation(module: AnsibleModule) -> Callable[[Seen], Any]:
    """The value as it may be seen."""
    patterns = secret_patterns(module)
    path, show_secrets = module.params["path"], module.params["show_secrets"]
    return lambda seen: redact_tree(typed(as_unicode(seen.value), path), patterns, path, show_secrets=show_secrets)


def failure(params: dict[str, Any], outcome: Outcome, result: dict[str, Any]) -> str:
    goals = {
        "state": "change" if params["state"] == "changed" else f"be {params['state']}",
        "equals": f"equal {as_text(params['equals'])!r}",
        "matches": f"match {params['matches']!r}",
        "query": f"make {params['query']!r} true",
    }
    goal = next(goals[name] for name in CONDITIONS if params[name] is not None)
    message = f"Waited {params['timeout']:g} s in vain for {params['path'] or 'the root'} to {goal}. "
    if outcome.seen is None:
        message += "It was not seen at all"
    elif not outcome.seen.found:
        message += "Last seen, there was no such key"
    else:
        shown = json.dumps(result["value"], ensure_ascii=False)
        is_long = len(shown) > MOST_CHARACTERS_SHOWN
        message += f"Last seen, it was {shown[:MOST_CHARACTERS_SHOWN]}{'...' if is_long else ''}"
    return f"{message}. The last try failed: {outcome.trouble}" if outcome.trouble else f"{message}."


if __name__ == "__main__":
    main()
