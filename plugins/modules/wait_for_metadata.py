#!/usr/bin/python
# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: wait_for_metadata
short_description: Wait for a change or a value in a VM's metadata
version_added: 0.1.0
description:
  - Waits until a key of the metadata server changes, appears, disappears, or has a certain value.
  - Uses the server's hanging requests, so that the task continues at once and misses no change between two requests.
  - Outages of the server and lost connections are retried as long as there is time.
  - The value of O(equals) or O(matches) for a secret is also a secret, and is neither in the result nor in an error. To
    keep it out of the VM's system log as well, set C(no_log=true).
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
      - The path to watch, below C(/computeMetadata/v1/), such as V(instance/attributes/phase).
      - A directory is watched with everything below it. Unless it is a well-known one, it needs a trailing slash.
    type: str
    required: true
  state:
    description:
      - V(changed) waits for a value other than the first one, or other than that of O(last_etag). It is also a change
        if a key appears or disappears.
      - V(present) waits until the key exists, and V(absent) until it does not.
      - Set exactly one of O(state), O(equals), O(matches) and O(query).
    type: str
    choices: [changed, present, absent]
  last_etag:
    description:
      - The etag of the last known value, such as RV(gce.guest.metadata_info#module:etag), for O(state=changed).
      - If the value has changed since, the module returns at once.
    type: str
  equals:
    description:
      - Waits until the value equals this one.
      - Booleans equal V(TRUE) and V(FALSE), as the metadata server writes them, and numbers equal their digits.
    type: raw
  matches:
    description: Waits until this regular expression matches anywhere in the value.
    type: str
  query:
    description:
      - Waits until this JMESPath expression over the value is true, which is anything but V(false), V(null) and empty
        values.
      - It is applied to RV(value), with secrets redacted.
      - An expression that does not fit the value, such as V(starts_with(phase, 'done'\)) without a C(phase), is not
        true. If that is still so at the end, the error says so.
      - Needs C(jmespath) where the module runs.
    type: str
  timeout:
    description:
      - The number of seconds after which the module fails. Changes of the system time do not affect it.
      - V(.inf) waits for ever.
      - The wait may take up to a second longer, since the server counts whole seconds, and up to 10 seconds longer if
        the server stops answering.
    type: float
    default: 300.0
  retry_for:
    description:
      - For how many seconds to retry until the server answers for the first time. A rate limit (429) is an answer.
      - After that, outages are retried until O(timeout).
  request_timeout:
    description:
      - Timeout in seconds of requests that the server answers at once, such as the first one.
      - A hanging request times out when its answer is 10 seconds late.
requirements:
  - jmespath, for O(query)
notes:
  - For a path below C(instance/guest-attributes/), the module stays within 10 requests a minute and leaves time for
    writers. It may notice a change some seconds late after changes of other attributes, and a minute late if the VM has
    used up its rate.
seealso:
  - module: gce.guest.metadata_info
  - module: gce.guest.maintenance_info
  - ref: ansible_collections.gce.guest.docsite.guide_guest_attributes
    description: Requests that a wait for a guest attribute takes.
"""

EXAMPLES = r"""
- name: Wait until the phase of the rollout is set
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

- name: Wait for the next change of the configuration
  gce.guest.wait_for_metadata:
    path: instance/attributes/app-config
    state: changed
    last_etag: "{{ config.etag }}"
    timeout: 60
  register: changed_config

- name: Wait until no maintenance is in progress
  gce.guest.wait_for_metadata:
    path: instance/maintenance-event
    equals: NONE
    timeout: 60
"""

RETURN = r"""
found:
  description: Whether the key existed at the end.
  returned: if the server answered
  type: bool
  sample: true
value:
  description:
    - The value or tree at the end, converted and redacted as by M(gce.guest.metadata_info).
    - V(null) if the key does not exist.
  returned: if the server answered
  type: raw
  sample: canary
etag:
  description:
    - The etag of the content, for O(last_etag) of the next wait.
    - V(null) if the key does not exist, or if the rate of guest attributes did not allow a request for the etag.
  returned: if the server answered
  type: str
  sample: 411261ca6c9e654e
elapsed:
  description: The number of seconds that the wait took.
  returned: success, and on timeout
  type: float
  sample: 12.7
"""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gce.guest.plugins.module_utils._metadata.query import QueryError
from ansible_collections.gce.guest.plugins.module_utils._metadata.secrets import REDACTED, is_secret_item, redact_tree
from ansible_collections.gce.guest.plugins.module_utils._metadata.tree import as_unicode, is_directory, typed
from ansible_collections.gce.guest.plugins.module_utils._module.argument_spec import (
    SECRETS_ARGSPEC,
    ArgumentSpec,
    compiled_pattern,
    failing,
    secret_patterns,
)
from ansible_collections.gce.guest.plugins.module_utils._module.guest import (
    GUEST_ARGSPEC,
    checked_query,
    metadata_server,
)
from ansible_collections.gce.guest.plugins.module_utils._module.redacting import RedactingModule
from ansible_collections.gce.guest.plugins.module_utils._vm.metadata_server import (
    MetadataError,
    encoded_path,
)
from ansible_collections.gce.guest.plugins.module_utils._vm.waiting import Changed, Outcome, Seen, wait_until

CONDITIONS = ("state", "equals", "matches", "query")
# The conditions that contain the value, or part of it.
COMPARISONS = ("equals", "matches")
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
    module = spec.update(GUEST_ARGSPEC).update(SECRETS_ARGSPEC).create_module(kind=ComparingModule)
    params = module.params
    with failing(module, MetadataError):
        encoded_path(params["path"])
        check(module)
        show = presentation(module)
        is_met = condition(module, show)
        # wait_until retries by itself.
        with closing(metadata_server(module, retry=False)) as server:
            outcome = wait_until(
                server, params["path"], is_met, timeout=params["timeout"], retry_for=params["retry_for"]
            )
    result: dict[str, Any] = {"elapsed": round(outcome.elapsed, 3)}
    if outcome.seen is not None:
        result.update(found=outcome.seen.found, value=show(outcome.seen), etag=outcome.seen.etag)
    if not outcome.met:
        module.fail_json(msg=failure(module, outcome, result, is_met), **result)
    module.exit_json(changed=False, **result)


def check(module: AnsibleModule) -> None:
    """Fail for parameters that contradict each other, before anything is sent."""
    params = module.params
    if all(params[name] is None for name in CONDITIONS):
        # required_one_of accepts null.
        module.fail_json(
            msg="There is nothing to wait for: state, equals, matches and query are all null. "
            "To wait for an empty value, set equals to an empty text."
        )
    if params["last_etag"] is not None and params["state"] != "changed":
        module.fail_json(msg=f"last_etag requires state=changed, but state is {params['state']}.")
    if is_directory(params["path"]) and (params["equals"] is not None or params["matches"] is not None):
        module.fail_json(msg=f"{params['path'] or 'The root'} is a directory. Use query to wait for a value in it.")
    if not isinstance(params["equals"], (str, bool, int, float, type(None))):
        module.fail_json(msg="equals has to be text, a number or a boolean. Use query for other values.")


def condition(module: AnsibleModule, show: Callable[[Seen], Any]) -> Callable[[Seen], bool]:
    """The condition to wait for."""
    params = module.params
    if params["equals"] is not None:
        wanted = as_text(params["equals"])
        return lambda seen: seen.found and as_text(seen.value) == wanted
    if params["matches"] is not None:
        pattern = compiled_matches(module)
        return lambda seen: seen.found and pattern.search(as_text(seen.value)) is not None
    if params["query"] is not None:
        return Query(checked_query(module, params["query"]), show)
    if params["state"] == "changed":
        return Changed(params["last_etag"])
    return lambda seen: seen.found == (params["state"] == "present")


class Query:
    """The condition that a query is true; ``misfit`` is why it did not fit the last value, or empty."""

    def __init__(self, search: Callable[[Any], Any], show: Callable[[Seen], Any]) -> None:
        self._search = search
        # The redacted value, since JMESPath's errors quote it.
        self._show = show
        self.misfit = ""

    def __call__(self, seen: Seen) -> bool:
        self.misfit = ""
        if not seen.found:
            return False
        try:
            return is_true(self._search(self._show(seen)))
        except QueryError as error:
            self.misfit = str(error)
            return False


def compiled_matches(module: AnsibleModule) -> re.Pattern[str]:
    pattern: str = module.params["matches"]
    if not is_redacted(module.params):
        return compiled_pattern(module, pattern, "matches")
    try:
        return re.compile(pattern)
    except re.error:
        module.fail_json(msg="matches is not a regular expression. It is not shown, since it is for a secret.")
        raise


def as_text(value: Any) -> str:
    """A value as the metadata server writes it."""
    if isinstance(value, bool):
        return str(value).upper()
    return value if isinstance(value, str) else json.dumps(value)


def is_true(result: Any) -> bool:
    """Whether a result is true to JMESPath: 0 is."""
    return not (result is None or result is False or result in ("", [], {}))


def presentation(module: AnsibleModule, *, is_typed: bool = True) -> Callable[[Seen], Any]:
    """The function that converts and redacts a value."""
    patterns = secret_patterns(module)
    path, show_secrets = module.params["path"], module.params["show_secrets"]

    def show(seen: Seen) -> Any:
        value = as_unicode(seen.value)
        return redact_tree(typed(value, path) if is_typed else value, patterns, path, show_secrets=show_secrets)

    return show


def is_redacted(params: Mapping[str, Any]) -> bool:
    """Whether to redact the value of the path and what it is compared with. True if invalid options leave it open."""
    try:
        if not params["show_secrets"] and any(
            is_secret_item("", as_text(params[name]), params["secret_patterns"])
            for name in COMPARISONS
            if params.get(name) is not None
        ):
            return True
        shown = redact_tree("", params["secret_patterns"], params["path"], show_secrets=params["show_secrets"])
    except (AttributeError, KeyError, TypeError, re.error):
        return True
    return bool(shown == REDACTED)


def failure(module: AnsibleModule, outcome: Outcome, result: dict[str, Any], is_met: Callable[[Seen], bool]) -> str:
    params = module.params
    hides = is_redacted(params)
    goals = {
        "state": "change" if params["state"] == "changed" else f"be {params['state']}",
        "equals": f"equal {REDACTED if hides else repr(as_text(params['equals']))}",
        "matches": f"match {REDACTED if hides else repr(params['matches'])}",
        "query": f"make {params['query']!r} true",
    }
    goal = next(name for name in CONDITIONS if params[name] is not None)
    sentences = [
        f"Timed out after {params['timeout']:g} s waiting for {params['path'] or 'the root'} to {goals[goal]}."
    ]
    if outcome.seen is None:
        sentences.append("The server never answered.")
    elif not outcome.seen.found:
        sentences.append("The key did not exist at the end.")
    else:
        # Comparisons use the text of the server, such as FALSE, not the converted value.
        value = presentation(module, is_typed=False)(outcome.seen) if goal in COMPARISONS else result["value"]
        shown = json.dumps(value, ensure_ascii=False)
        is_long = len(shown) > MOST_CHARACTERS_SHOWN
        sentences.append(f"Its last value was {shown[:MOST_CHARACTERS_SHOWN]}{'...' if is_long else ''}.")
    if isinstance(is_met, Query) and is_met.misfit:
        sentences.append(is_met.misfit)
    if outcome.trouble:
        sentences.append(f"The last try failed: {outcome.trouble}")
    return " ".join(sentences)


class ComparingModule(RedactingModule):
    """A module that does not return what it compares a secret with, not even if it rejects its options."""

    def __init__(self, **specification: Any) -> None:
        super().__init__("equals", **specification)

    def _redacted(self, result: dict[str, Any]) -> dict[str, Any]:
        if not is_redacted(self.params):
            return result
        redacted = super()._redacted(result)
        arguments = redacted["invocation"]["module_args"]
        arguments.update({name: REDACTED for name in COMPARISONS if arguments.get(name) is not None})
        return redacted


if __name__ == "__main__":
    main()
