# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of what speaks to the Compute API. Private to the collection: it may change at any time."""

from __future__ import annotations


class ModuleDocFragment:
    """Kept in step with API_ARGSPEC in plugins/module_utils/_module/api.py, and INSTANCES_ARGSPEC in _selection.py."""

    DOCUMENTATION = r"""
requirements:
  - requests
  - google-auth
options:
  project:
    description:
      - The project that this is about, by its ID or its number.
      - By default the project of the credentials. For federated credentials, it takes a request to the API
        C(cloudresourcemanager.googleapis.com) to find out.
      - For modules, the environment variable E(GCP_PROJECT) can say which.
    type: str
  auth_kind:
    description:
      - The kind of credentials.
      - With V(application), application default credentials, such as C(gcloud auth application-default login) leaves
        behind, or those that E(GOOGLE_APPLICATION_CREDENTIALS) names, which may be a configuration of workload identity
        federation.
      - With V(machineaccount), the service account of the VM that this runs on.
      - With V(serviceaccount), the key in O(service_account_file) or O(service_account_contents).
      - With V(accesstoken), the O(access_token).
      - By default V(accesstoken) or V(serviceaccount) if one of their options is given, in this order, V(accesstoken)
        if there is E(CLOUDSDK_AUTH_ACCESS_TOKEN), and else V(application).
      - For modules, the environment variable E(GCP_AUTH_KIND) can say which.
    type: str
    choices: [application, machineaccount, serviceaccount, accesstoken]
  service_account_email:
    description:
      - Which of the VM's service accounts to use with O(auth_kind=machineaccount). By default its default one.
      - For modules, the environment variable E(GCP_SERVICE_ACCOUNT_EMAIL) can say which.
    type: str
  service_account_file:
    description:
      - The path of a service account's key, as JSON.
      - For modules, the environment variable E(GCP_SERVICE_ACCOUNT_FILE) can say which.
    type: path
  service_account_contents:
    description:
      - A service account's key, as JSON or as a dictionary.
      - For modules, the environment variable E(GCP_SERVICE_ACCOUNT_CONTENTS) can hold it.
    type: jsonarg
  access_token:
    description:
      - An OAuth 2 access token, such as C(gcloud auth print-access-token) prints.
      - For modules, the environment variable E(GCP_ACCESS_TOKEN) can hold it.
      - Without any of the options of credentials, the one in the environment variable E(CLOUDSDK_AUTH_ACCESS_TOKEN) is
        used, as by gcloud.
    type: str
  impersonate_service_account:
    description:
      - The email address of a service account to act as. The credentials need the role
        C(roles/iam.serviceAccountTokenCreator) on it.
      - If there are several, the credentials act as the first one, which acts as the second one, and so on.
      - For modules, the environment variable E(CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT) can say which, as for gcloud.
    type: list
    elements: str
  scopes:
    description:
      - The OAuth 2 scopes to ask for.
      - By default V(https://www.googleapis.com/auth/cloud-platform).
      - For modules, the environment variable E(GCP_SCOPES) can hold them, separated by commas.
    type: list
    elements: str
  api_endpoint:
    description:
      - Where the Compute API is, such as an emulator at V(http://127.0.0.1:8080). Without a path, it is below
        C(/compute/v1/) there.
      - By default V(https://compute.googleapis.com/compute/v1/), or the same in the O(universe_domain).
      - For modules, the environment variable E(CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE) can say where, as for gcloud.
    type: str
  universe_domain:
    description:
      - The domain of a cloud other than Google's public one, such as one of Google Cloud Dedicated.
      - By default what the credentials say, or V(googleapis.com) for an O(access_token). Other credentials have to be
        of this domain.
      - For modules, the environment variables E(CLOUDSDK_CORE_UNIVERSE_DOMAIN), as for gcloud, or
        E(GOOGLE_CLOUD_UNIVERSE_DOMAIN) can say which.
    type: str
  retry_for:
    description:
      - For how many seconds a request is tried again, counted from its first failure, when the API is unavailable or
        limits the rate. What it denies, or does not know, is not tried again. A write that is tried again happens once.
      - V(0) tries once.
    type: float
    default: 120.0
  request_timeout:
    description:
      - After how many seconds one try is given up.
    type: float
    default: 30.0
  requests_per_minute:
    description:
      - How many requests a minute may be sent. The default keeps within the API's quota of most projects, which is
        1500, and leaves some of it to others.
      - V(0) sets no limit.
    type: float
    default: 1200.0
"""

    # For what is no module, in addition to the above.
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
    secret: true
  access_token:
    env:
      - name: GCP_ACCESS_TOKEN
    vars:
      - name: gce_guest_access_token
    secret: true
  impersonate_service_account:
    env:
      - name: CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT
    vars:
      - name: gce_guest_impersonate_service_account
  universe_domain:
    # The last one that is set goes first.
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
      - The zone of the instances, by its name, as C(projects/PROJECT/zones/ZONE), which is how the metadata server
        gives it, or by its URL.
      - By default instances are looked up in all zones.
    type: str
  instance:
    description:
      - One instance, by its name or id, as C(ZONE/NAME), by its path C(projects/PROJECT/zones/ZONE/instances/NAME) or a
        part of it from C(zones/) on, by its URL, or by its name in the internal DNS.
      - The project in it, as its ID or its number, has to be O(project). A number takes C(compute.projects.get).
    type: str
  instances:
    description:
      - Instances, each as in O(instance).
    type: list
    elements: str
  filter:
    description:
      - All instances that a filter expression of the API's lists finds, such as
        V(labels.env = prod AND status = RUNNING).
      - Neither this nor O(instance) and O(instances) may be null, so that a variable that came to nothing does not mean
        the whole project. Leave out what does not matter, with V(default(omit\)) if need be. An empty list in
        O(instances) is none of them.
    type: str
  concurrency:
    description:
      - How many instances to see to at once.
    type: int
    default: 32
"""
