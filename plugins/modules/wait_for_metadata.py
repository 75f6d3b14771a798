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
  - What a secret is compared with, by O(equals) or O(matches), is a secret as well, and repeated neither in the result
    nor in an error. If it must not be in the system log of the VM either, set C(no_log=true).
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
      - Where the value does not fit the expression, such as V(starts_with(phase, 'done'\)) as long as there is no
        C(phase), the expression is not true yet. If that is how it ends, the failure says so.
      - Needs C(jmespath) where the module runs.
    type: str
  timeout:
    description:
      - After how many seconds the wait ends in a failure, on a clock that no correction of the time moves.
      - V(.inf) waits for ever.
      - It takes up to a second longer, as the server counts whole ones, and up to 10 seconds if the server falls silent
        in the last of them.
    type: float
    default: 300.0
  retry_for:
    description:
      - For how many seconds to try until the server answers for the first time, be it that there are too many requests.
      - Once it has, outages are survived for as long as O(timeout) allows.
  request_timeout:
    description:
      - After how many seconds a request is given up that the server answers at once, such as the first one.
      - A request that hangs is given up when its answer is 10 seconds late, whatever this is.
requirements:
  - jmespath, for O(query)
notes:
  - For a path below C(instance/guest-attributes/), the module keeps to 10 requests a minute, and leaves time for those
    who write. When other attributes have just changed, it may hear of the one that it waits for some seconds late, and
    when the VM has used up its rate, a minute late.
seealso:
  - module: gce.guest.metadata_info
  - module: gce.guest.maintenance_info
  - ref: ansible_collections.gce.guest.docsite.guide_guest_attributes
    description: How many requests it takes to wait for a guest attribute.
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
    - V(null) if there is no such key, and for a guest attribute if it took one request too many to ask for the etag.
  returned: unless nothing was heard of it
  type: str
  sample: 411261ca6c9e654e
elapsed:
  description: How many seconds the wait took.
  returned: when the wait is over, be it in vain
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
# The conditions that name the value, or part of it.
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
        # The waiting survives outages by itself.
        with closing(metadata_server(module, retry_for=0.0)) as server:
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
    """Refuse parameters that contradict each other, before anything is sent."""
    params = module.params
    if all(params[name] is None for name in CONDITIONS):
        # An option that is null is one that was given, as far as required_one_of goes.
        module.fail_json(
            msg="There is nothing to wait for: state, equals, matches and query are all null. "
            "For a value that is empty, set equals to an empty text."
        )
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
        pattern = compiled_matches(module)
        return lambda seen: seen.found and pattern.search(as_text(seen.value)) is not None
    if params["query"] is not None:
        return Query(checked_query(module, params["query"]), show)
    if params["state"] == "changed":
        return Changed(params["last_etag"])
    return lambda seen: seen.found == (params["state"] == "present")


class Query:
    """The condition that a query finds something true; ``misfit`` says why the last value did not fit it, if so."""

    def __init__(self, search: Callable[[Any], Any], show: Callable[[Seen], Any]) -> None:
        self._search = search
        # It sees what is shown, as an error of JMESPath quotes the value.
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
        module.fail_json(msg="matches is not a regular expression. It is about a secret, and hence not shown.")
        raise


def as_text(value: Any) -> str:
    """A value as the metadata server writes it."""
    if isinstance(value, bool):
        return str(value).upper()
    return value if isinstance(value, str) else json.dumps(value)


def is_true(result: Any) -> bool:
    """What JMESPath calls true: 0 is."""
    return not (result is None or result is False or result in ("", [], {}))


def presentation(module: AnsibleModule, *, is_typed: bool = True) -> Callable[[Seen], Any]:
    """The value as it may be seen."""
    patterns = secret_patterns(module)
    path, show_secrets = module.params["path"], module.params["show_secrets"]

    def show(seen: Seen) -> Any:
        value = as_unicode(seen.value)
        return redact_tree(typed(value, path) if is_typed else value, patterns, path, show_secrets=show_secrets)

    return show


def is_redacted(params: Mapping[str, Any]) -> bool:
    """Whether the value of the path is not shown, nor what it is compared with. If bad options leave that open, so."""
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
    sentences = [f"Waited {params['timeout']:g} s in vain for {params['path'] or 'the root'} to {goals[goal]}."]
    if outcome.seen is None:
        sentences.append("It was not seen at all.")
    elif not outcome.seen.found:
        sentences.append("Last seen, there was no such key.")
    else:
        # What was compared is what the server writes, such as FALSE, and not what it is returned as.
        value = presentation(module, is_typed=False)(outcome.seen) if goal in COMPARISONS else result["value"]
        shown = json.dumps(value, ensure_ascii=False)
        is_long = len(shown) > MOST_CHARACTERS_SHOWN
        sentences.append(f"Last seen, it was {shown[:MOST_CHARACTERS_SHOWN]}{'...' if is_long else ''}.")
    if isinstance(is_met, Query) and is_met.misfit:
        sentences.append(is_met.misfit)
    if outcome.trouble:
        sentences.append(f"The last try failed: {outcome.trouble}")
    return " ".join(sentences)


class ComparingModule(RedactingModule):
    """A module that does not repeat what it compares a secret with, not even when it refuses its options."""

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
