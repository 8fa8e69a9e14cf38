"""What the chart's objects say to each other and to the program."""

from __future__ import annotations

import re
import subprocess
from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from fastapi.routing import APIRoute

from common.nodes import VRAM_CLASSES
from common.settings import Settings, Timing, load_settings
from coordinator.embedded.ports import kept_ports
from coordinator.embedded.seaweed import weed_binary
from coordinator.embedded.valkey import server_binary
from coordinator.http import farm_routes
from tests.command_words import parse_command, settings_variables
from tests.integration.helm.rendering import CHART, HOOK, VALUES, Document, Release, Renderer
from tests.waiting import until

LEAST = VALUES["least"]
_ADDRESS = re.compile(r"night-(?:coordinator|valkey|seaweedfs)(?=:)")


def as_read(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def test_selectors_choose_their_own_pods_and_no_others(release: Release) -> None:
    pods = {name: pod["metadata"]["labels"] for name, pod in release.pods().items()}

    def chosen(labels: dict[str, str]) -> set[str]:
        return {name for name, found in pods.items() if labels.items() <= found.items()}

    for workload in release.kind("Deployment", "StatefulSet"):
        assert chosen(workload["spec"]["selector"]["matchLabels"]) == {workload["metadata"]["name"]}
    for budget in release.kind("PodDisruptionBudget"):
        assert chosen(budget["spec"]["selector"]["matchLabels"]) == {budget["metadata"]["name"]}
    for service in release.kind("Service"):
        name = service["metadata"]["name"]
        expected = {n for n in pods if n.startswith("night-node-")} if name == "night-nodes" else {name}
        assert chosen(service["spec"]["selector"]) == expected


def test_whatever_a_pod_names_is_rendered_or_given(release: Release) -> None:
    rendered = {(document["kind"], document["metadata"]["name"]) for document in release.documents}
    given = {
        ("Secret", "farm-secrets"),
        ("PersistentVolumeClaim", "models"),
        ("PersistentVolumeClaim", "model-cache"),
    }
    for _, pod in release.pods().items():
        for volume in pod["spec"].get("volumes", ()):
            for kind, source, key in (
                ("Secret", "secret", "secretName"),
                ("ConfigMap", "configMap", "name"),
                ("PersistentVolumeClaim", "persistentVolumeClaim", "claimName"),
            ):
                if source in volume:
                    assert (kind, volume[source][key]) in rendered | given
        account = pod["spec"].get("serviceAccountName")
        assert account is None or ("ServiceAccount", account) in rendered
    for name, container in release.containers():
        volumes = {volume["name"] for volume in release.pods()[name]["spec"]["volumes"]}
        claims = [d for d in release.kind("StatefulSet") if d["metadata"]["name"] == name]
        volumes |= {c["metadata"]["name"] for d in claims for c in d["spec"].get("volumeClaimTemplates", ())}
        assert {mount["name"] for mount in container.get("volumeMounts", ())} <= volumes
        for entry in container.get("env", ()):
            if "secretKeyRef" in entry.get("valueFrom", {}):
                assert ("Secret", entry["valueFrom"]["secretKeyRef"]["name"]) in rendered | given


def test_every_farm_variable_is_a_setting(release: Release) -> None:
    used = {entry["name"] for _, container in release.containers() for entry in container.get("env", ())}
    farms = {name for name in used if name.startswith("FARM_")}
    assert len(farms) > 10
    assert farms <= settings_variables()


def test_every_command_parses_in_its_program(release: Release) -> None:
    for _, container in release.containers():
        words = [*container["command"], *container.get("args", ())]
        if words[0] == "sh":
            (words,) = [line.split() for line in words[-1].splitlines() if line.startswith("farm ")]
        # Folders that are mounted are not here.
        parse_command([word.replace("$(POD_NAME)", "pod-0").replace("=/models", "=.") for word in words])


def test_a_flag_of_another_program_would_be_found(cluster: Release) -> None:
    container = cluster.container("node-rtx4090")

    with pytest.raises(Exception, match="finish"):
        parse_command([*container["command"], "run", "--farm=http://farm", "--finish=all"])


def test_no_secret_stands_in_a_variable(release: Release) -> None:
    for _, container in release.containers():
        for entry in container.get("env", ()):
            is_file = entry["name"] == "FARM_GATEWAY__CERTIFICATE_KEY"
            if re.search(r"KEY|SECRET|DATABASE_URL|FARM_BROKER_URL", entry["name"]) and not is_file:
                assert entry["valueFrom"]["secretKeyRef"]["name"] in ("farm-secrets", "night-trial")


def test_rates_reach_the_program_as_it_reads_them(cluster: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    money = as_read(cluster.plain_environment("coordinator"), monkeypatch).money
    assert (money.tariff_per_kwh, money.currency) == (Decimal("0.25"), "EUR")
    assert (money.card_per_hour, money.rent_per_hour) == (
        {8: Decimal("0.01"), 24: Decimal("0.06")},
        {24: Decimal("0.4")},
    )


@pytest.mark.parametrize("part", ["coordinator", "ingest"])
def test_every_time_of_the_farm_can_be_set(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    fifth = {name: value / 5 for name, value in Timing().model_dump().items()}
    money = {"card_watts": {"8": 140}, "time_zone": "Europe/Berlin", "traffic_per_gb": 0.01}
    more = {"money": money, "retention": {"details_days": 30}, "eco": False}
    values = LEAST | {"settings": {"timing": fifth, **more}}
    settings = as_read(renderer.render(values).plain_environment(part), monkeypatch)
    assert settings.timing == Timing(**fifth)
    assert (settings.money.time_zone, settings.money.traffic_per_gb) == ("Europe/Berlin", Decimal("0.01"))
    assert (settings.money.card_watts, settings.retention.details_days, settings.eco) == ({8: 140}, 30, False)


def test_catalog_files_are_mounted_where_the_coordinator_looks_for_them(
    cluster: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = cluster.one("ConfigMap", "catalogs")["data"]
    spec = cluster.pods()["night-coordinator"]["spec"]
    (volume,) = [v["name"] for v in spec["volumes"] if v.get("configMap", {}).get("name") == "night-catalogs"]
    (mount,) = [m for m in spec["containers"][0]["volumeMounts"] if m["name"] == volume]
    settings = as_read(cluster.plain_environment("coordinator"), monkeypatch)
    assert settings.catalogs == tuple(Path(mount["mountPath"]) / name for name in sorted(files))


def test_a_changed_catalog_starts_the_coordinator_again(cluster: Release, renderer: Renderer) -> None:
    changed = renderer.render(VALUES["cluster"] | {"catalogs": {"mine.yaml": "models: {}\n"}})
    templates = [found.pods()["night-coordinator"]["metadata"]["annotations"] for found in (cluster, changed)]
    assert templates[0] != templates[1]


def test_a_standby_lives_but_gets_no_calls_and_stands_elsewhere(cluster: Release) -> None:
    deployment = cluster.one("Deployment", "coordinator")
    container = cluster.container("coordinator")
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert container["readinessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    answered = {route.path for route in farm_routes.router.routes if isinstance(route, APIRoute)}
    assert {"/healthz", "/livez"} <= answered
    (spread,) = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert spread["topologyKey"] == "kubernetes.io/hostname"
    # Two with one name would both think that they were the one that led.
    assert "FARM_INSTANCE" not in cluster.plain_environment("coordinator")


def test_one_coordinator_goes_on_under_its_name(renderer: Renderer) -> None:
    assert renderer.render(LEAST).plain_environment("coordinator")["FARM_INSTANCE"] == "night-coordinator"


def test_a_pool_is_one_gpu_a_pod_of_its_class_and_cuda_version(cluster: Release) -> None:
    old = cluster.one("StatefulSet", "node-gtx1070")
    container = cluster.container("node-gtx1070")
    assert old["spec"]["replicas"] == 4
    assert old["spec"]["template"]["metadata"]["labels"]["shotfarm/vram-class"] == "8"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container["image"].endswith("-cu126")
    assert cluster.container("node-rtx4090")["image"].endswith("-cu130")
    assert {"--lane=public", "--lane=studio", "--model-disk=80"} <= set(container["args"])
    (claim,) = old["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "82Gi"


def test_the_home_of_a_node_is_a_folder_that_it_makes_itself(release: Release) -> None:
    """It sets the mode of its home, which only the owner may do; that of a volume is root."""
    for name, container in release.containers():
        if "-node-" in name:
            (home,) = [word.partition("=")[2] for word in container["args"] if word.startswith("--home=")]
            mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
            assert home not in mounts
            assert str(Path(home).parent) in mounts


def test_a_node_without_a_gpu_asks_for_none_and_simulates_its_card(trial: Release) -> None:
    container = trial.container("node-cpu")
    assert "limits" not in container["resources"]
    assert "--card=/etc/shotfarm/card.yaml" in container["args"]
    card = yaml.safe_load(trial.one("ConfigMap", "node-cpu")["data"]["card.yaml"])
    assert card == VALUES["trial"]["pools"]["cpu"]["card"]


def test_a_pool_says_whose_its_cards_are_and_who_pays(cluster: Release) -> None:
    assert {"--owner=studio", "--terms=owned"} <= set(cluster.container("node-rtx4090")["args"])
    assert {"--owner=farm", "--terms=rented"} <= set(cluster.container("node-cloud")["args"])


def test_a_node_has_longer_to_end_than_its_longest_pass_takes(cluster: Release) -> None:
    for name in ("node-gtx1070", "node-rtx4090", "node-cloud"):
        spec = cluster.pods()[f"night-{name}"]["spec"]
        (last,) = [a for a in spec["containers"][0]["args"] if a.startswith("--last-pass=")]
        seconds = int(last.partition("=")[2])
        assert seconds >= Timing().hard_limit_s
        assert spec["terminationGracePeriodSeconds"] > seconds + 15


def test_a_scaled_pool_follows_all_shots_of_its_lanes_and_classes_that_wait_or_run(cluster: Release) -> None:
    scaled = {one["metadata"]["name"]: one["spec"] for one in cluster.kind("ScaledObject")}
    assert scaled.keys() == {"night-node-rtx4090", "night-node-cloud"}
    spec = scaled["night-node-rtx4090"]
    assert "replicas" not in cluster.one("StatefulSet", "node-rtx4090")["spec"]
    assert spec["scaleTargetRef"] == {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "name": "night-node-rtx4090",
    }
    (trigger,) = spec["triggers"]
    # The pool of 8 GB takes what is smaller.
    query = 'sum(farm_demand_shots{lane=~"public", vram_class=~"12|16|24"})'
    assert trigger["metadata"]["query"] == query
    assert trigger["metadata"]["activationThreshold"] == "0"
    assert trigger["metadata"]["ignoreNullValues"] == "false"
    (other,) = scaled["night-node-cloud"]["triggers"]
    assert other["metadata"]["query"] == 'sum(farm_demand_shots{lane=~"studio", vram_class=~"24"})'


def test_pools_together_take_every_class_up_to_the_largest_once(renderer: Renderer) -> None:
    pools = {f"of{size}": {"vramClass": size, "scaling": {"max": 2}} for size in (8, 16, 32)}
    release = renderer.render(LEAST | {"pools": pools, "keda": {"prometheusUrl": "http://prometheus"}})
    queries = [one["spec"]["triggers"][0]["metadata"]["query"] for one in release.kind("ScaledObject")]
    found = [int(size) for q in queries for size in re.findall(r'vram_class=~"([0-9|]+)"', q)[0].split("|")]
    assert sorted(found) == list(VRAM_CLASSES)


def test_prometheus_scrapes_with_the_key_for_metrics_and_nothing_else(cluster: Release) -> None:
    (monitor,) = cluster.kind("ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["authorization"]["credentials"] == {"name": "farm-metrics", "key": "metrics-key"}
    service = cluster.one("Service", "coordinator")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["path"] in {
        route.path for route in farm_routes.router.routes if isinstance(route, APIRoute)
    }


def test_rules_and_dashboards_travel_whole(cluster: Release) -> None:
    (rules,) = cluster.kind("PrometheusRule")
    assert rules["spec"] == yaml.safe_load((CHART / "rules" / "shotfarm.yaml").read_text())
    boards = cluster.one("ConfigMap", "dashboards")
    assert boards["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert boards["data"] == {file.name: file.read_text() for file in (CHART / "dashboards").glob("*.json")}


def test_people_come_by_tls_and_to_the_service(cluster: Release, renderer: Renderer) -> None:
    (ingress,) = cluster.kind("Ingress")
    assert ingress["spec"]["tls"] == [{"hosts": ["farm.example"], "secretName": "farm-tls"}]
    (path,) = ingress["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"] == {"service": {"name": "night-coordinator", "port": {"name": "http"}}}
    (route,) = renderer.render(VALUES["gateway"]).kind("HTTPRoute")
    assert route["spec"]["rules"][0]["backendRefs"] == [{"name": "night-coordinator", "port": 8080}]
    for found in (cluster, renderer.render(VALUES["gateway"])):
        assert found.plain_environment("coordinator")["FARM_PUBLIC_URL"] == "https://farm.example"
        # Ingest does not leave the cluster to come in again.
        assert found.plain_environment("ingest")["FARM_PUBLIC_URL"] == "http://night-coordinator:8080"


def policies_of(release: Release, pod: str) -> list[Document]:
    labels = release.pods()[f"night-{pod}"]["metadata"]["labels"]
    chosen = release.kind("NetworkPolicy")
    return [p["spec"] for p in chosen if p["spec"]["podSelector"]["matchLabels"].items() <= labels.items()]


def outward(release: Release, pod: str) -> set[int]:
    """Ports on which a pod may call somebody, without names."""
    rules = [rule for policy in policies_of(release, pod) for rule in policy.get("egress", ())]
    return {port["port"] for rule in rules for port in rule["ports"]} - {53}


def test_nothing_is_let_in_or_out_that_is_not_needed(cluster: Release) -> None:
    for pod in cluster.pods():
        assert any(
            policy["policyTypes"] == ["Ingress", "Egress"] and "ingress" not in policy
            for policy in policies_of(cluster, pod.removeprefix("night-"))
        )
    assert outward(cluster, "coordinator") == {5432, 6379, 443}
    assert outward(cluster, "ingest") == {8080, 6379, 443}
    assert outward(cluster, "node-gtx1070") == {8080, 6379, 443}
    assert outward(cluster, "migration") == {5432}
    assert outward(cluster, "test") == {8080}
    assert outward(cluster, "gateway") == {8080, 443}


def test_only_the_named_reach_the_api_and_nobody_a_node(cluster: Release) -> None:
    assert not any(
        rule for policy in policies_of(cluster, "node-cloud") for rule in policy.get("ingress", ())
    )
    (rule,) = [rule for policy in policies_of(cluster, "coordinator") for rule in policy.get("ingress", ())]
    named = [peer["namespaceSelector"] for peer in rule["from"] if "namespaceSelector" in peer]
    names = [selector["matchLabels"]["kubernetes.io/metadata.name"] for selector in named]
    assert names == ["ingress-nginx", "monitoring"]
    # An empty list would let everybody in.
    assert len(rule["from"]) == 3


def test_the_database_is_called_at_its_addresses_alone(cluster: Release) -> None:
    rules = [rule for policy in policies_of(cluster, "migration") for rule in policy["egress"]]
    (rule,) = [rule for rule in rules if {"port": 5432, "protocol": "TCP"} in rule["ports"]]
    assert [ip_network(peer["ipBlock"]["cidr"]).num_addresses for peer in rule["to"]] == [256]


def test_a_trial_calls_nobody_outside_and_its_servers_call_nobody(trial: Release) -> None:
    for name in trial.pods():
        pod = name.removeprefix("night-")
        rules = [r for policy in policies_of(trial, pod) for r in policy.get("egress", ()) if "to" not in r]
        assert all(port["port"] == 53 for rule in rules for port in rule["ports"])
        assert outward(trial, pod) <= {8080, 6379, 8333}
    assert outward(trial, "seaweedfs") == outward(trial, "valkey") == set()


def test_every_address_inside_is_a_service(release: Release) -> None:
    services = {service["metadata"]["name"] for service in release.kind("Service")}
    assert set(_ADDRESS.findall(yaml.safe_dump(release.documents))) <= services


def test_a_migration_runs_before_the_new_version_and_a_test_when_asked(
    cluster: Release, trial: Release
) -> None:
    (job,) = cluster.kind("Job")
    assert job["metadata"]["annotations"][HOOK] == "pre-install,pre-upgrade"
    # It runs before the chart's ServiceAccount is there.
    assert "serviceAccountName" not in job["spec"]["template"]["spec"]
    # SQLite's one user is the coordinator, which migrates it itself.
    assert trial.kind("Job") == []
    (pod,) = cluster.kind("Pod")
    assert pod["metadata"]["annotations"][HOOK] == "test"


def test_the_notes_say_how_to_reach_this_farm(release: Release) -> None:
    assert "port-forward svc/night-coordinator 8080" in release.notes
    for line in release.notes.splitlines():
        if line.strip().startswith("farm "):
            parse_command(line.split())
    exported = set(re.findall(r"export (\w+)=", release.notes))
    assert exported <= settings_variables()


def test_metrics_named_in_the_chart_are_told_by_the_farm(cluster: Release) -> None:
    reference = Path("docs/reference/metrics.md").read_text()
    named: set[str] = set()
    for document in cluster.kind("PrometheusRule", "ScaledObject"):
        named |= set(re.findall(r"farm_[a-z_]+", str(document)))
    assert {"farm_demand_shots", "farm_money_info"} <= named
    assert [name for name in named if f"| `{name}` |" not in reference] == []


def test_units_of_sizes_are_those_of_kubernetes(release: Release) -> None:
    quantity = re.compile(r"[0-9]+(\.[0-9]+)?(m|Ki|Mi|Gi|Ti)?")
    found: list[Any] = [
        value
        for _, container in release.containers()
        for part in ("requests", "limits")
        for value in container["resources"].get(part, {}).values()
    ]
    assert found
    assert [value for value in found if not quantity.fullmatch(str(value))] == []


def test_the_valkey_of_a_trial_starts_with_its_configuration_and_asks_for_its_password(
    trial: Release, tmp_path: Path
) -> None:
    secret = trial.one("Secret", "trial")["stringData"]
    port = kept_ports(tmp_path / "ports.json", ("valkey",))["valkey"]
    configuration = tmp_path / "valkey.conf"
    text = secret["valkey.conf"].replace("port 6379", f"port {port}").replace("dir /tmp", f"dir {tmp_path}")
    configuration.write_text(text.replace("bind 0.0.0.0", "bind 127.0.0.1"))
    url = secret["broker-url"].replace("night-valkey:6379", f"127.0.0.1:{port}")
    log = (tmp_path / "log").open("wb")
    with log, subprocess.Popen([server_binary(), str(configuration)], stdout=log, stderr=log) as process:
        try:
            until(lambda: answers(url), evidence=(tmp_path / "log").read_text)
            assert not answers(f"redis://127.0.0.1:{port}/0")
        finally:
            process.terminate()


def answers(url: str) -> bool:
    with redis.Redis.from_url(url) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


def test_the_seaweedfs_of_a_trial_knows_its_options(trial: Release) -> None:
    containers = trial.pods()["night-seaweedfs"]["spec"]["containers"]
    (words,) = [[*c["command"], *c["args"]] for c in containers if c["name"] == "seaweedfs"]
    weed = weed_binary()
    assert weed is not None
    told = subprocess.run([weed, "help", words[1]], capture_output=True, text=True, check=False)
    known = set(re.findall(r"^  -([\w.]+)", told.stdout + told.stderr, re.MULTILINE))
    assert {word.partition("=")[0].lstrip("-") for word in words[2:]} <= known
