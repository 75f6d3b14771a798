# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of plugins for the Compute API. Private to the collection: it may change at any time."""

from __future__ import annotations


class ModuleDocFragment:
    """Matches API_ARGSPEC in plugins/module_utils/_module/api.py, and INSTANCES_ARGSPEC in targets.py."""

    DOCUMENTATION = r"""
requirements:
  - Python 3.9 or newer
  - requests
  - google-auth
options:
  project:
    description:
      - The ID or number of the project.
      - Defaults to the project of the credentials. For federated credentials, this takes a request to the API
        C(cloudresourcemanager.googleapis.com).
      - Modules also read it from the environment variable E(GCP_PROJECT).
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
      - Modules also read it from the environment variable E(GCP_AUTH_KIND).
    type: str
    choices: [application, machineaccount, serviceaccount, accesstoken]
  service_account_email:
    description:
      - The service account of the VM to use with O(auth_kind=machineaccount). By default, the default one.
      - Modules also read it from the environment variable E(GCP_SERVICE_ACCOUNT_EMAIL).
    type: str
  service_account_file:
    description:
      - The path of a service account's key, as JSON.
      - Modules also read it from the environment variable E(GCP_SERVICE_ACCOUNT_FILE).
    type: path
  service_account_contents:
    description:
      - A service account's key, as JSON or as a dictionary.
      - Modules also read it from the environment variable E(GCP_SERVICE_ACCOUNT_CONTENTS).
    type: jsonarg
  access_token:
    description:
      - An OAuth 2 access token, as printed by C(gcloud auth print-access-token).
      - Modules also read it from the environment variable E(GCP_ACCESS_TOKEN).
      - Without any option for credentials, the token in the environment variable E(CLOUDSDK_AUTH_ACCESS_TOKEN) is used,
        as by gcloud.
    type: str
  impersonate_service_account:
    description:
      - The email address of a service account to impersonate. The credentials require the role
        C(roles/iam.serviceAccountTokenCreator) on it.
      - With several accounts, the credentials impersonate the first one, which impersonates the second one, and so on.
      - Modules also read it from the environment variable E(CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT), as gcloud does.
    type: list
    elements: str
    version_added: 0.2.0
  scopes:
    description:
      - The OAuth 2 scopes to request.
      - Defaults to V(https://www.googleapis.com/auth/cloud-platform).
      - Modules also read them from the environment variable E(GCP_SCOPES), separated by commas.
    type: list
    elements: str
  api_endpoint:
    description:
      - The URL of the Compute API, such as V(http://127.0.0.1:8080) for an emulator. The path defaults to
        C(/compute/v1/).
      - Defaults to V(https://compute.googleapis.com/compute/v1/), or its equivalent in the O(universe_domain).
      - Modules also read it from the environment variable E(CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE), as gcloud does.
    type: str
  universe_domain:
    description:
      - The domain of a cloud other than Google's public one, such as Google Cloud Dedicated.
      - Defaults to the domain of the credentials, or V(googleapis.com) for an O(access_token). Other credentials must
        match it.
      - Modules also read it from the environment variables E(CLOUDSDK_CORE_UNIVERSE_DOMAIN), as gcloud does, and
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
"""

    # For plugins other than modules, in addition to the above.
    PLUGINS = r"""
options:
  project:
    env:
      - name: GCP_PROJECT
    vars:
      - name: gce_guest_project
  auth_kind:
    env:
      - name: GCP_AUTH_KIND
    vars:
      - name: gce_guest_auth_kind
  service_account_email:
    env:
      - name: GCP_SERVICE_ACCOUNT_EMAIL
    vars:
      - name: gce_guest_service_account_email
  service_account_file:
    env:
      - name: GCP_SERVICE_ACCOUNT_FILE
    vars:
      - name: gce_guest_service_account_file
  service_account_contents:
    type: raw
    env:
      - name: GCP_SERVICE_ACCOUNT_CONTENTS
    vars:
      - name: gce_guest_service_account_contents
  access_token:
    env:
      - name: GCP_ACCESS_TOKEN
    vars:
      - name: gce_guest_access_token
  impersonate_service_account:
    env:
      - name: CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT
    vars:
      - name: gce_guest_impersonate_service_account
  universe_domain:
    # The last variable that is set takes precedence.
    env:
      - name: GOOGLE_CLOUD_UNIVERSE_DOMAIN
      - name: CLOUDSDK_CORE_UNIVERSE_DOMAIN
    vars:
      - name: gce_guest_universe_domain
  scopes:
    env:
      - name: GCP_SCOPES
    vars:
      - name: gce_guest_scopes
  api_endpoint:
    env:
      - name: CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE
    ini:
      - section: gce_guest
        key: api_endpoint
    vars:
      - name: gce_guest_api_endpoint
"""

    INSTANCES = r"""
options:
  zone:
    description:
      - The zone of the instances, as a name, as C(projects/PROJECT/zones/ZONE), which is the form of the metadata
        server, or as a URL.
      - By default, instances are looked up in all zones.
    type: str
  instance:
    description:
      - One instance, as a name, an ID, C(ZONE/NAME), C(projects/PROJECT/zones/ZONE/instances/NAME),
        C(zones/ZONE/instances/NAME), a URL, or its name in the internal DNS.
      - A project in it, as an ID or a number, must be O(project). A number requires C(compute.projects.get).
    type: str
  instances:
    description:
      - A list of instances, each as in O(instance). An empty list selects none.
    type: list
    elements: str
  filter:
    description:
      - All instances that match a filter expression of the API, such as V(labels.env = prod AND status = RUNNING).
      - None of O(instance), O(instances) and O(filter) may be null, so that an undefined variable does not select the
        whole project. Omit the others, with V(default(omit\)) if necessary.
    type: str
  concurrency:
    description:
      - How many instances to process at the same time.
    type: int
    default: 32
"""
