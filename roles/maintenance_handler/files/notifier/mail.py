# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send a notice by mail."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Mapping
from contextlib import suppress
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any

from client import tls
from client.errors import Refusal
from notifier.outcome import Refused, Unavailable

_DOMAIN = "gce-maintenance-handler"


def send(target: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """Send it. Returns what came back. Raises `Refused` or `Unavailable`."""
    settings = target["smtp"]
    where = f"{settings['host']}:{settings['port']}"
    try:
        server = _connection(settings, target["timeout"])
        try:
            if "user" in settings:
                server.login(settings["user"], settings["password"])
            refused = server.send_message(message(settings, document))
        finally:
            # Once the mail is accepted, a failure to say goodbye does not matter.
            with suppress(OSError, smtplib.SMTPException):
                server.quit()
            server.close()
    except smtplib.SMTPRecipientsRefused as exc:
        raise _judged(where, next(iter(exc.recipients.values()))[0], "refused all recipients") from None
    except smtplib.SMTPResponseException as exc:
        # Its text may repeat the user or the password.
        raise _judged(where, exc.smtp_code, "refused") from None
    except smtplib.SMTPNotSupportedError as exc:
        raise Refused(f"{where}: {exc}") from None
    except (OSError, smtplib.SMTPException, EOFError, Refusal) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else exc
        raise Unavailable(f"{where}: {reason or type(exc).__name__}") from None
    if refused:
        return f"{where} accepted it, except for {', '.join(refused)}"
    return f"{where} accepted it"


def message(settings: Mapping[str, Any], document: Mapping[str, Any]) -> EmailMessage:
    """The mail. Its Message-ID is the same for each try, so that a mail that arrives twice can be recognized."""
    mail = EmailMessage()
    mail["Subject"] = " ".join(f"[{document['severity']}] {document['summary']}".split())[:250]
    mail["From"] = settings["from"]
    mail["To"] = ", ".join(settings["to"])
    mail["Date"] = formatdate()
    mail["Message-ID"] = f"<{document['id']}@{_DOMAIN}>"
    if document["incident"]:
        # Mail readers show the mails of an incident as one conversation.
        mail["References"] = f"<{document['instance_id'] or document['instance']}-{document['incident']}@{_DOMAIN}>"
    # RFC 3834: no automatic replies.
    mail["Auto-Submitted"] = "auto-generated"
    lines = [document["summary"], ""]
    lines += [f"{name}: {_shown(value)}" for name, value in document.items() if name not in ("summary", "text")]
    mail.set_content("\n".join(lines) + "\n")
    return mail


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return "-" if value in (None, "") else str(value)


def _connection(settings: Mapping[str, Any], timeout: float) -> smtplib.SMTP:
    context = None
    if settings["security"] != "none":
        context = tls.context(settings.get("ca_file"))
    if settings["security"] == "tls":
        return smtplib.SMTP_SSL(settings["host"], settings["port"], timeout=timeout, context=context)
    server = smtplib.SMTP(settings["host"], settings["port"], timeout=timeout)
    if isinstance(context, ssl.SSLContext):
        try:
            server.starttls(context=context)
        except BaseException:
            server.close()
            raise
    return server


def _judged(where: str, code: int, what: str) -> Exception:
    # RFC 5321, section 4.2.1: 5yz is permanent, 4yz is not.
    text = f"{where} {what} with status {code}"
    return Refused(text) if code >= 500 else Unavailable(text)
