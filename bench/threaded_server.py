# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small metadata server of the standard library, with a thread for each connection.

It answers a change sooner than the emulator, so that more of the measured time is that of the program that waits. It
has what bench.notice needs: values, hanging requests for one value, and of the emulator's control API the journal and
the change of a value. `python -m bench.threaded_server NAME ...` prints its addresses as JSON.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

ROOT = "/computeMetadata/v1/"
# Seconds that a request hangs without timeout_sec.
LONGEST = 3600.0


class Instance:
    """The values of one VM. Each change of any of them wakes all requests that hang."""

    def __init__(self, name: str, number: int) -> None:
        self.changed = threading.Condition()
        self.values = {
            "instance/maintenance-event": "NONE",
            "instance/id": str(1000 + number),
            "instance/name": name,
            "instance/zone": "projects/314159265358/zones/us-central1-a",
            "instance/machine-type": "projects/314159265358/machineTypes/e2-medium",
        }
        self.requests: list[dict[str, Any]] = []

    def etag(self, path: str) -> str:
        return f"{hash(self.values.get(path)) & 0xFFFFFFFF:016x}"

    def set(self, path: str, value: str) -> None:
        with self.changed:
            self.values[path] = value
            self.changed.notify_all()


class Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body are one packet.
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def respond(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content_Length": str(len(body))}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


def metadata_face(instance: Instance) -> type[Quiet]:
    class Metadata(Quiet):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(url.query).items()}
            path = url.path.removeprefix(ROOT)
            entry: dict[str, Any] = {"path": url.path, "at": time.time(), "status": None}
            with instance.changed:
                instance.requests.append(entry)
                if query.get("wait_for_change", "").lower() == "true":
                    last = query.get("last_etag") or instance.etag(path)
                    longest = float(query.get("timeout_sec", LONGEST))
                    instance.changed.wait_for(lambda: instance.etag(path) != last, longest)
                value, etag = instance.values.get(path), instance.etag(path)
            entry["status"] = 404 if value is None else 200
            body = (value or "not found").encode()
            self.respond(entry["status"], body, Metadata_Flavor="Google", ETag=etag, Content_Type="application/text")

    return Metadata


def control_face(instances: dict[str, Instance]) -> type[Quiet]:
    class Control(Quiet):
        def do_PUT(self) -> None:
            _slash, _kind, name, _values, path = self.path.split("/", 4)
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            instances[name].set(path, body["value"])
            self.respond(200, b"{}")

        def do_GET(self) -> None:
            query = {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}
            found = [
                entry
                for entry in list(instances[query["instance"]].requests)
                if query.get("path", "") in entry["path"] and entry["at"] >= float(query.get("since", 0))
            ]
            self.respond(200, json.dumps({"requests": found[-100:]}).encode())

    return Control


def started(face: type[Quiet]) -> str:
    """Serve in the background. Returns the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), face)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"127.0.0.1:{server.server_address[1]}"


def main() -> None:
    instances = {name: Instance(name, number) for number, name in enumerate(sys.argv[1:])}
    metadata = {name: started(metadata_face(instance)) for name, instance in instances.items()}
    print(json.dumps({"metadata": metadata, "control": f"http://{started(control_face(instances))}"}), flush=True)
    # Until the bench closes its end.
    sys.stdin.read()


if __name__ == "__main__":
    main()
