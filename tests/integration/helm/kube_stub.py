"""A recording stand-in for a Kubernetes API server: enough for Helm's own engine to render and post a chart.

It answers version and discovery, says 404 to every look-up but that of a Secret that it may keep, and echoes
what is posted. It admits nothing and validates nothing; `kubernetes-validate` does that with the rendered
manifests.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

_KINDS = {
    "v1": [
        ("services", "Service"),
        ("serviceaccounts", "ServiceAccount"),
        ("configmaps", "ConfigMap"),
        ("secrets", "Secret"),
        ("persistentvolumeclaims", "PersistentVolumeClaim"),
        ("pods", "Pod"),
    ],
    "apps/v1": [("deployments", "Deployment"), ("statefulsets", "StatefulSet")],
    "batch/v1": [("jobs", "Job")],
    "policy/v1": [("poddisruptionbudgets", "PodDisruptionBudget")],
    "networking.k8s.io/v1": [("ingresses", "Ingress"), ("networkpolicies", "NetworkPolicy")],
    "gateway.networking.k8s.io/v1": [("httproutes", "HTTPRoute")],
    "keda.sh/v1alpha1": [("scaledobjects", "ScaledObject")],
    "monitoring.coreos.com/v1": [
        ("servicemonitors", "ServiceMonitor"),
        ("prometheusrules", "PrometheusRule"),
    ],
}


def _resources(group_version: str) -> dict[str, Any]:
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": [
            {"name": plural, "singularName": "", "namespaced": True, "kind": kind, "verbs": verbs}
            for plural, kind in _KINDS[group_version]
        ],
    }


def _groups() -> dict[str, Any]:
    groups = []
    for group_version in _KINDS:
        if "/" in group_version:
            group, version = group_version.split("/")
            entry = {"groupVersion": group_version, "version": version}
            groups.append({"name": group, "versions": [entry], "preferredVersion": entry})
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def _send(self, status: int, body: dict[str, Any]) -> None:
        self._send_raw(status, json.dumps(body).encode(), "application/json")

    def _send_raw(self, status: int, data: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        path = self.path.split("?")[0].strip("/")
        if path == "version":
            major, minor = self.server.kubernetes.split(".")
            self._send(200, {"major": major, "minor": minor, "gitVersion": f"v{self.server.kubernetes}.0"})
        elif path == "api":
            self._send(200, {"kind": "APIVersions", "versions": ["v1"]})
        elif path == "apis":
            self._send(200, _groups())
        elif path == "api/v1":
            self._send(200, _resources("v1"))
        elif self.server.kept is not None and path.endswith(_path_of(self.server.kept)):
            self._send(200, self.server.kept)
        elif path.removeprefix("apis/") in _KINDS:
            self._send(200, _resources(path.removeprefix("apis/")))
        else:
            self._send(
                404,
                {
                    "kind": "Status",
                    "apiVersion": "v1",
                    "status": "Failure",
                    "reason": "NotFound",
                    "code": 404,
                },
            )

    def do_POST(self) -> None:
        self._echo(201)

    def do_PUT(self) -> None:
        self._echo(200)

    def do_PATCH(self) -> None:
        """Of the Secret that is kept; Helm goes by its own rendering."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self._send(200, self.server.kept or {})

    def _echo(self, status: int) -> None:
        # Helm posts its release secret as protobuf: what came goes back as it came.
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._send_raw(status, body, self.headers["Content-Type"])

    def log_message(self, *args: object) -> None:
        """Silence: what matters is what Helm returns."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, kubernetes: str, kept: dict[str, Any] | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.kubernetes, self.kept = kubernetes, kept


def _path_of(secret: dict[str, Any]) -> str:
    return f"/secrets/{secret['metadata']['name']}"


@contextmanager
def kube_api(folder: Path, kubernetes: str, kept: dict[str, Any] | None = None) -> Iterator[Path]:
    """Run the stub as Kubernetes `kubernetes` ("1.33") with the Secret `kept`; yields a kubeconfig to it."""
    server = _Server(kubernetes, kept)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    config = folder / f"kubeconfig-{server.server_port}"
    config.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "stub",
                "clusters": [
                    {"name": "stub", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
                ],
                "users": [{"name": "stub", "user": {}}],
                "contexts": [{"name": "stub", "context": {"cluster": "stub", "user": "stub"}}],
            }
        )
    )
    try:
        yield config
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
