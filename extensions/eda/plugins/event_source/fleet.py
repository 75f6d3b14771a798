# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
source: fleet
short_description: Receive maintenance events of a project from the Compute API
version_added: 0.2.0
description:
  - Sends an event when a maintenance window of an instance is announced, moved, changed, begun, cancelled or over.
  - Also sends what the platform did to instances, such as host errors, preemptions and migrations, and which zones
    cannot be reached. The windows of such zones count as unchanged.
  - Takes one list of instances over all zones each O(interval), and one of O(operations), within the limit
    O(requests_per_minute).
  - The source ends at its start if its options are invalid, or if the API refuses the first poll for the credentials, a
    missing permission or the O(filter). After that, nothing that the API answers ends it.
author:
  - The gce.guest authors (@gce-guest)
requirements:
  - requests
  - google-auth
options:
  zone:
    description: Only resources in this zone.
    type: str
  filter:
    description:
      - Only instances that match this filter expression of the API, such as V(labels.env = prod).
      - What the platform did to an instance is reported if one of the last polls had it, even if it is deleted now.
    type: str
  kinds:
    description: The kinds of resources to list, V(instance), V(node_group) and V(reservation).
    type: list
    elements: str
    default: [instance]
  operations:
    description: Whether to report what the platform did to instances.
    type: bool
    default: true
  interval:
    description: Seconds between two polls, from 1 to 86400. Each varies at random by up to a tenth.
    type: float
    default: 60.0
  initial:
    description:
      - What to do with maintenance that is already announced when the source starts.
      - With V(report), it is reported as RV(change=announced) with RV(initial=true).
      - With V(changes), only what changes from then on is reported.
    type: str
    default: report
    choices: [report, changes]
  host_pattern:
    description:
      - How the hosts of the inventory are called, with C({name}), C({zone}) and C({project}) of the instance, such as
        V({name}.{zone}.c.{project}.internal).
      - The result is in RV(meta.hosts), to which ansible-rulebook limits actions. In place of a name that could be a
        pattern of hosts, such as V(all), it has V(no-host.invalid), which no host matches.
    type: str
    default: "{name}"
  limit:
    description:
      - Whether to limit actions to the hosts of the event. With V(false), RV(meta.hosts) is left out, and actions run
        on the hosts of the ruleset, such as for a playbook with a play for localhost.
    type: bool
    default: true
  project:
    description:
      - The ID or number of the project.
      - Defaults to the project of the credentials. For federated credentials, this takes a request to the API
        C(cloudresourcemanager.googleapis.com).
      - The source also reads it from the environment variable E(GCP_PROJECT).
    type: str
  auth_kind:
    description:
      - The kind of credentials.
      - With V(application), application default credentials, as created by C(gcloud auth application-default login) or
        in the file named by E(GOOGLE_APPLICATION_CREDENTIALS), which may be a configuration of workload identity
        federation.
      - With V(machineaccount), the service account of the VM where the plugin runs.
      - With V(serviceaccount), the key in O(service_account_file) or O(service_account_contents).
      - With V(accesstoken), the O(access_token).
      - Defaults to V(accesstoken) or V(serviceaccount) if one of their options is given, in this order, to
        V(accesstoken) if E(CLOUDSDK_AUTH_ACCESS_TOKEN) is set, and to V(application) otherwise.
      - The source also reads it from the environment variable E(GCP_AUTH_KIND).
    type: str
    choices: [application, machineaccount, serviceaccount, accesstoken]
  service_account_email:
    description:
      - The service account of the VM to use with O(auth_kind=machineaccount). By default, the default one.
      - The source also reads it from the environment variable E(GCP_SERVICE_ACCOUNT_EMAIL).
    type: str
  service_account_file:
    description:
      - The path of a service account's key, as JSON.
      - The source also reads it from the environment variable E(GCP_SERVICE_ACCOUNT_FILE).
    type: path
  service_account_contents:
    description:
      - A service account's key, as JSON or as a dictionary.
      - The source also reads it from the environment variable E(GCP_SERVICE_ACCOUNT_CONTENTS).
    type: raw
  access_token:
    description:
      - An OAuth 2 access token, as printed by C(gcloud auth print-access-token).
      - The source also reads it from the environment variable E(GCP_ACCESS_TOKEN).
      - Without any option for credentials, the token in the environment variable E(CLOUDSDK_AUTH_ACCESS_TOKEN) is used,
        as by gcloud.
    type: str
  impersonate_service_account:
    description:
      - The email address of a service account to impersonate. The credentials require the role
        C(roles/iam.serviceAccountTokenCreator) on it.
      - With several accounts, the credentials impersonate the first one, which impersonates the second one, and so on.
      - The source also reads it from the environment variable E(CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT), as gcloud
        does.
    type: list
    elements: str
    version_added: 0.2.0
  scopes:
    description:
      - The OAuth 2 scopes to request.
      - Defaults to V(https://www.googleapis.com/auth/cloud-platform).
      - The source also reads them from the environment variable E(GCP_SCOPES), separated by commas.
    type: list
    elements: str
  api_endpoint:
    description:
      - The URL of the Compute API, such as V(http://127.0.0.1:8080) for an emulator. The path defaults to
        C(/compute/v1/).
      - Defaults to V(https://compute.googleapis.com/compute/v1/), or its equivalent in the O(universe_domain).
      - The source also reads it from the environment variable E(CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE), as gcloud
        does.
    type: str
  universe_domain:
    description:
      - The domain of a cloud other than Google's public one, such as Google Cloud Dedicated.
      - Defaults to the domain of the credentials, or V(googleapis.com) for an O(access_token). Other credentials must
        match it.
      - The source also reads it from the environment variables E(CLOUDSDK_CORE_UNIVERSE_DOMAIN), as gcloud does, and
        E(GOOGLE_CLOUD_UNIVERSE_DOMAIN).
    type: str
    version_added: 0.2.0
  retry_for:
    description:
      - Seconds to retry a request after its first failure, when the API is unavailable or limits the rate. Other
        errors are not retried. A retried write still happens only once.
      - V(0) disables retries.
    type: float
    default: 120.0
  request_timeout:
    description:
      - Seconds until a single request times out.
    type: float
    default: 30.0
  requests_per_minute:
    description:
      - The maximum of requests a minute. The default is below the quota of most projects, which is 1500, and leaves
        some of it to others.
      - V(0) removes the limit.
    type: float
    default: 1200.0
notes:
  - An event for a window is a dictionary with C(change), C(event=window), C(initial), C(time), C(project),
    C(meta.hosts), and the fields of RV(gce.guest.fleet_maintenance_info#module:windows).
  - An event for an operation has C(change=operation). Its C(event) is the name of the operation, such as C(hostError),
    and C(name), C(zone), C(at) and C(message) are about the instance. Operations before the start are not reported.
  - An event for what cannot be read has C(event=unknown) and C(change=unreachable), and later C(change=reachable).
    C(scope) is a zone such as C(zones/us-central1-a), a kind, C(operations), C(list) or C(project), and C(reason) says
    why.
  - Between polls, only windows and operations are kept, and with O(filter) the names of instances. In a test without a
    filter, with 10,000 instances, of which 1000 had a window, resident memory grew by 3.4 MiB in the first three polls,
    and by 0.1 MiB in the next five.
seealso:
  - module: gce.guest.fleet_maintenance_info
"""

EXAMPLES = r"""
- name: React to maintenance windows of a project
  hosts: all
  sources:
    - gce.guest.fleet:
        project: acme
        filter: labels.env = prod
        interval: 60
  rules:
    - name: Note a window that can be rescheduled
      condition: event.change == "announced" and event.can_reschedule == true
      action:
        debug:
          msg: "{{ event.name }} has maintenance from {{ event.window_start_time }}"
    - name: Note a host error
      condition: event.event == "hostError"
      action:
        debug:
          msg: "{{ event.name }} was stopped by a host error"
"""

import sys
from pathlib import Path
from typing import Any

# ansible-rulebook runs this file by its path. The collection's code is found from the directory of collections.
sys.path.append(str(Path(__file__).absolute().parents[7]))

from ansible_collections.gce.guest.plugins.plugin_utils._event_source.fleet_source import run


async def main(queue: Any, args: dict[str, Any]) -> None:
    """Called by ansible-rulebook."""
    await run(queue, args)
