# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entries of `notify`: who is notified of what, and how. Loaded only if there are some.

URLs, headers and passwords may be secret, so no message contains their values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Callable
from urllib.parse import urlsplit

from .._vm.web_url import has_user, is_loopback, is_web_url
from ..core.likeness import did_you_mean
from ..core.notice_document import template_problems
from ..core.notices import DRAINED, DRAINING, KINDS, NOTICED, RESTORED
from .config_fields import TASK_FIELDS, Check, kind_of

SLACK, GOOGLE_CHAT, PAGERDUTY, ALERTMANAGER, CLOUDEVENTS = PRESETS = (
    "slack",
    "google_chat",
    "pagerduty",
    "alertmanager",
    "cloudevents",
)
# https://developer.pagerduty.com/docs/send-alert-event
PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"
ALERTMANAGER_PATH = "/api/v2/alerts"

WAYS = ("url", "command", "smtp")
# A step more for every event would be noise.
DEFAULT_ON = tuple(kind for kind in KINDS if kind != DRAINING)
# Nobody is paged for what works.
DEFAULT_ON_PAGERDUTY = tuple(kind for kind in DEFAULT_ON if kind not in (NOTICED, DRAINED))
TIMEOUT = 10.0
SECURITY_PORTS = {"starttls": 587, "tls": 465, "none": 25}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}\Z")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_HEADERS_OF_THE_REQUEST = ("connection", "content-length", "host", "transfer-encoding")
_ADDRESS = re.compile(r"[^\s<>@,;]+@[^\s<>@,;]+\Z")

_command: Check = TASK_FIELDS["drain"]
_text: Check = TASK_FIELDS["name"]
_path: Check = TASK_FIELDS["playbook"]


def targets(raw: Any, problems: list[str], cautions: list[str]) -> tuple[dict[str, Any], ...]:
    """The valid targets, in the form that the notifier takes. Adds a line for each problem and each caution."""
    if not isinstance(raw, list):
        problems.append(f"field 'notify': must be a list, not {kind_of(raw)}")
        return ()
    found: list[dict[str, Any]] = []
    for number, entry in enumerate(raw, start=1):
        if not isinstance(entry, dict):
            problems.append(f"notify {number}: must be an object, not {kind_of(entry)}")
            continue
        name = entry.get("name")
        where = f"notify {name!r}" if isinstance(name, str) and _NAME.match(name) else f"notify {number}"
        wrong = [f"{where}, {problem}" for problem in _problems(entry)]
        if not wrong and name in [target["name"] for target in found]:
            wrong = [f"{where}, field 'name': is used by more than one target"]
        problems += wrong
        if not wrong:
            found.append(_target(entry))
            cautions += [f"{where}, {caution}" for caution in _cautions(found[-1])]
    return tuple(found)


def _problems(entry: Mapping[str, Any]) -> list[str]:
    problems = []
    ways = [way for way in (*WAYS, "preset") if entry.get(way) is not None]
    way = "url" if "preset" in ways else next(iter(ways), "")
    fields = {"name": _name, "on": _on, "timeout": _seconds, **_FIELDS_OF.get(way, {})}
    count = len([one for one in ways if one in WAYS])
    if count > 1:
        problems.append(f"has {' and '.join(ways)}: give one of {', '.join(WAYS)}")
    elif not ways:
        problems.append(f"needs one of {', '.join(WAYS)}")
    if problems:
        fields.update({name: check for each in _FIELDS_OF.values() for name, check in each.items()})
    for key, value in entry.items():
        if key not in fields:
            known = ", ".join(sorted(fields))
            problems.append(f"field {key!r}: is unknown here; the fields are {known}{did_you_mean(key, fields)}")
        elif value is not None:
            problems += [f"field {key!r}: {problem}" for problem in _refusals(fields[key], value)]
    problems += [f"field {key!r}: is missing" for key in _missing(entry, way) if entry.get(key) is None]
    if entry.get("preset") is not None and entry.get("template") is not None:
        problems.append("field 'template': cannot be given together with 'preset'")
    if entry.get("routing_key") is not None and entry.get("preset") != PAGERDUTY:
        problems.append("field 'routing_key': is only for the preset pagerduty")
    if entry.get("key_file") is not None and entry.get("cert_file") is None:
        problems.append("field 'key_file': needs 'cert_file'")
    return problems


def _refusals(check: Check, value: Any) -> list[str]:
    try:
        check(value)
    except ValueError as exc:
        return str(exc).splitlines()
    return []


def _missing(entry: Mapping[str, Any], way: str) -> list[str]:
    """The fields that must be there."""
    required = ["name"]
    if entry.get("preset") == PAGERDUTY:
        required.append("routing_key")
    elif way == "url":
        required.append("url")
    return required


def _target(entry: Mapping[str, Any]) -> dict[str, Any]:
    preset = entry.get("preset")
    given = {key: value for key, value in entry.items() if value is not None}
    default_on = DEFAULT_ON_PAGERDUTY if preset == PAGERDUTY else DEFAULT_ON
    target = {"timeout": TIMEOUT, **given, "on": list(given.get("on", default_on))}
    if preset == PAGERDUTY:
        target.setdefault("url", PAGERDUTY_URL)
    elif preset == ALERTMANAGER and not urlsplit(target["url"]).path.endswith(ALERTMANAGER_PATH):
        target["url"] = target["url"].rstrip("/") + ALERTMANAGER_PATH
    if "smtp" in target:
        security = target["smtp"].get("security", "starttls")
        target["smtp"] = {"security": security, "port": SECURITY_PORTS[security], **target["smtp"]}
    return target


def _cautions(target: Mapping[str, Any]) -> list[str]:
    cautions = []
    if target.get("preset") in (PAGERDUTY, ALERTMANAGER) and RESTORED not in target["on"]:
        cautions.append(f"field 'on': without {RESTORED}, nothing resolves what {target['preset']} has opened")
    url = target.get("url", "")
    if urlsplit(url).scheme == "http" and "headers" in target and not is_loopback(url):
        cautions.append("field 'headers': are sent without encryption, because the URL begins with http://")
    return cautions


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.match(value):
        raise ValueError('must be up to 60 letters, digits, ".", "_" and "-", and begin with a letter or a digit')
    return value


def _on(value: Any) -> list[str]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"must be a list of at least one of {', '.join(KINDS)}")
    for kind in value:
        if kind not in KINDS:
            raise ValueError(f"{kind!r:.60} is not one of {', '.join(KINDS)}{did_you_mean(str(kind), KINDS)}")
    if len(set(value)) != len(value):
        raise ValueError("names a kind twice")
    return value


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value <= 60:
        raise ValueError("must be a number of seconds from 1 to 60")
    return float(value)


def _url(value: Any) -> str:
    text: str = _text(value)
    if has_user(text):
        raise ValueError("must have no user and no password in it: give them by 'headers'")
    if not is_web_url(text) or not text.isascii():
        raise ValueError("must be a URL that begins with http:// or https:// and has a host")
    if "#" in text:
        raise ValueError("must have no fragment")
    return text


def _preset(value: Any) -> str:
    if value not in PRESETS:
        raise ValueError(f"{value!r:.60} is not one of {', '.join(PRESETS)}{did_you_mean(str(value), PRESETS)}")
    return str(value)


def _template(value: Any) -> Any:
    if not isinstance(value, (str, dict, list)) or not value:
        raise ValueError(f"must be an object, a list or a text, not {kind_of(value) if value else 'empty'}")
    problems = list(dict.fromkeys(template_problems(value)))
    if problems:
        raise ValueError("\n".join(problems))
    return value


def _headers(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"must be an object, not {kind_of(value)}")
    for name, text in value.items():
        if not _HEADER.match(name):
            raise ValueError(f"{name!r:.60} is not the name of a header")
        if name.lower() in _HEADERS_OF_THE_REQUEST:
            raise ValueError(f"{name!r} is set by the request itself")
        if not isinstance(text, str) or not text.isascii() or not text.isprintable() or text != text.strip():
            raise ValueError(f"the value of {name!r} must be a single line of ASCII characters")
    return value


def _secret(value: Any) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("must be a single line of printable characters")
    return value


def _address(value: Any) -> str:
    if not isinstance(value, str) or not value.isascii() or not _ADDRESS.match(value):
        raise ValueError("must be an address such as ops@example.com")
    return value


def _addresses(value: Any) -> list[str]:
    if not isinstance(value, list) or not value:
        raise ValueError("must be a list of at least one address")
    return [_address(one) for one in value]


def _port(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65536:
        raise ValueError("must be a number from 1 to 65535")
    return value


def _host(value: Any) -> str:
    if not isinstance(value, str) or not re.match(r"[A-Za-z0-9._:-]+\Z", value):
        raise ValueError("must be the name or the address of a mail server")
    return value


def _security(value: Any) -> str:
    if not isinstance(value, str) or value not in SECURITY_PORTS:
        raise ValueError(f"must be one of {', '.join(SECURITY_PORTS)}")
    return value


def _smtp(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"must be an object, not {kind_of(value)}")
    problems = [f"{name}: is missing" for name in ("host", "from", "to") if value.get(name) is None]
    for name, one in value.items():
        if name not in _SMTP_FIELDS:
            known = ", ".join(_SMTP_FIELDS)
            problems.append(f"{name!r}: is unknown; the fields are {known}{did_you_mean(name, _SMTP_FIELDS)}")
        else:
            problems += [f"{name}: {problem}" for problem in _refusals(_SMTP_FIELDS[name], one)]
    if ("user" in value) != ("password" in value):
        problems.append("user and password: give both or none")
    if "password" in value and value.get("security") == "none":
        problems.append("password: would be sent without encryption; use security starttls or tls")
    if problems:
        raise ValueError("\n".join(problems))
    return value


_SMTP_FIELDS: dict[str, Callable[[Any], Any]] = {
    "host": _host,
    "port": _port,
    "security": _security,
    "user": _secret,
    "password": _secret,
    "from": _address,
    "to": _addresses,
    "ca_file": _path,
}
_FIELDS_OF: dict[str, dict[str, Check]] = {
    "url": {
        "url": _url,
        "preset": _preset,
        "template": _template,
        "headers": _headers,
        "routing_key": _secret,
        "ca_file": _path,
        "cert_file": _path,
        "key_file": _path,
    },
    "command": {"command": _command},
    "smtp": {"smtp": _smtp},
}
