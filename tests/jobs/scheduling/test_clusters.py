"""Nights on Kubernetes: what is rendered is what the API servers take, safe, and apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.scheduling.cloud import Cloud
from jobs.scheduling.kuberay import render_kuberay
from jobs.scheduling.kubernetes import render_kubernetes
from jobs.scheduling.night import Night
from pipeline.recipe import load_recipe
from schemas.errors import RecipeError
from tests.jobs.scheduling.nights import IMAGE, RECIPE, REVISION, cloud, night, recipe_file
from tests.kubernetes.pods import broken_rules, containers, pods
from tests.kubernetes.schemas import problems

TARGETS = [render_kubernetes, render_kuberay]
CLOUDS = [
    Cloud(IMAGE),
    Cloud(IMAGE, "lab", ("stores", "hub"), "weights", "gpu=l4", "spot=true", "30Gi"),
]


def manifests(files: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Everything that is rendered, by its kind; the RayJob in its ConfigMap, too."""
    found = {name: yaml.safe_load(text) for name, text in files.items()}
    found.pop("kustomization.yaml")
    if "rayjob.yaml" in found:
        found["RayJob"] = json.loads(found["rayjob.yaml"]["data"]["rayjob.json"])
    return {name if name == "RayJob" else f"{m['kind']} {name}": m for name, m in found.items()}


def of(files: dict[str, str], kind: str) -> dict[str, Any]:
    return next(m for m in manifests(files).values() if m["kind"] == kind)


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Night:
    return night(recipe_file(tmp_path_factory.mktemp("cells")))


@pytest.mark.parametrize("given", CLOUDS)
@pytest.mark.parametrize("render", TARGETS)
def test_every_manifest_is_what_the_api_server_takes_and_no_key_is_unknown(
    cells: Night, render: Any, given: Cloud
) -> None:
    for name, manifest in manifests(render(cells, given)).items():
        assert problems(manifest) == [], name


@pytest.mark.parametrize("given", CLOUDS)
@pytest.mark.parametrize("render", TARGETS)
def test_every_pod_is_restricted_and_sees_no_token_that_it_does_not_need(
    cells: Night, render: Any, given: Cloud
) -> None:
    files = render(cells, given)
    for name, manifest in manifests(files).items():
        assert broken_rules(manifest) == [], name
    assert any(pods(manifest) for manifest in manifests(files).values())


@pytest.mark.parametrize("render", TARGETS)
def test_rendering_twice_gives_the_same_bytes(tmp_path: Path, render: Any) -> None:
    file = recipe_file(tmp_path)
    assert render(night(file), CLOUDS[1]) == render(night(file), CLOUDS[1])


@pytest.mark.parametrize("render", TARGETS)
def test_secrets_are_references_and_workers_have_them(cells: Night, render: Any) -> None:
    files = render(cells, CLOUDS[1])
    everything = [c for m in manifests(files).values() for p in pods(m) for c in containers(p)]
    given = {c["name"]: [s["secretRef"]["name"] for s in c.get("envFrom", ())] for c in everything}
    assert given["ray-head"] == given["ray-worker"] == ["stores", "hub"]
    assert not any(manifest["kind"] == "Secret" for manifest in manifests(files).values())


def test_no_two_nights_of_a_cronjob_overlap_and_all_limits_are_set(cells: Night) -> None:
    files = render_kubernetes(cells, CLOUDS[0])
    cron, job = of(files, "CronJob")["spec"], of(files, "RayJob")
    assert cron["concurrencyPolicy"] == "Forbid"
    assert (cron["schedule"], cron["timeZone"]) == ("0 2 * * *", "Europe/Berlin")
    assert cron["successfulJobsHistoryLimit"] and cron["failedJobsHistoryLimit"]
    assert "generateName" not in job["metadata"]  # one name: the API server holds one
    spec = job["spec"]
    assert spec["activeDeadlineSeconds"] == 6 * 3600 and spec["backoffLimit"] == 2
    attempts = spec["activeDeadlineSeconds"] * (spec["backoffLimit"] + 1)
    assert cron["jobTemplate"]["spec"]["activeDeadlineSeconds"] > attempts


def test_the_starter_may_create_rayjobs_and_touch_its_own_and_nothing_else(cells: Night) -> None:
    files = render_kubernetes(cells, CLOUDS[0])
    rules = of(files, "Role")["rules"]
    assert [(rule["verbs"], rule.get("resourceNames")) for rule in rules] == [
        (["create"], None),
        (["get", "delete"], [of(files, "RayJob")["metadata"]["name"]]),
    ]
    assert all(rule["resources"] == ["rayjobs"] for rule in rules)
    account = of(files, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert account["serviceAccountName"] == of(files, "RoleBinding")["subjects"][0]["name"]


@pytest.mark.parametrize(
    ("resources", "workers", "asked"),
    [
        ("{gpus: 0.5, cpus: 2, pool: [1, 9]}", 5, {"cpu": "5", "nvidia.com/gpu": "1"}),
        ("{gpus: 2, cpus: 4, pool: [1, 3]}", 3, {"cpu": "5", "nvidia.com/gpu": "2"}),
        ("{cpus: 1.5, pool: [2, 4]}", 4, {"cpu": "3"}),
    ],
)
def test_workers_are_as_large_and_as_many_as_the_recipe_asks_for_and_none_at_first(
    tmp_path: Path, resources: str, workers: int, asked: dict[str, str]
) -> None:
    file = recipe_file(tmp_path, "{gpus: 0.5, cpus: 2, pool: [1, 9]}", resources)
    job = of(render_kubernetes(night(file), CLOUDS[0]), "RayJob")["spec"]
    (group,) = job["rayClusterSpec"]["workerGroupSpecs"]
    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (0, 0, workers)
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert {name: value for name, value in limits.items() if name != "memory"} == asked


OWN = """\
ops:
  - {kind: classic, transforms: [{HorizontalFlip: {p: 0.5}}], resources: {cpus: 4, pool: [1, 2]}}
  - kind: copy_paste
    harmonise: 0
    resources: {cpus: 2, memory: 30GiB, pool: [1, 3], labels: {zone: a}}
  - {kind: classic, transforms: [{VerticalFlip: {p: 0.5}}], resources: {cpus: 4, pool: [1, 5]}}
"""


def test_every_kind_of_pool_is_a_group_that_holds_all_its_actors(tmp_path: Path) -> None:
    file = recipe_file(tmp_path, "ops:\n", OWN)
    cluster = of(render_kubernetes(night(file), cloud(nodes="gpu=l4")), "RayJob")["spec"]
    groups = {g["groupName"]: g for g in cluster["rayClusterSpec"]["workerGroupSpecs"]}
    assert {name: g["maxReplicas"] for name, g in groups.items()} == {
        "cpu": 7,
        "cpu-2": 3,
        "gpu": 5,
    }
    limits = {
        n: g["template"]["spec"]["containers"][0]["resources"]["limits"] for n, g in groups.items()
    }
    assert [limits[name]["cpu"] for name in groups] == ["5", "3", "5"]
    assert int(limits["cpu-2"]["memory"][:-2]) * 0.7 >= 30 * 1024  # beside the object store
    assert groups["cpu-2"]["labels"] == {"zone": "a"}
    placed = {n: g["template"]["spec"].get("nodeSelector") for n, g in groups.items()}
    assert placed == {"cpu": None, "cpu-2": None, "gpu": {"gpu": "l4"}}


def test_an_accelerator_is_declared_before_there_is_a_node_and_the_flag_makes_it_true(
    tmp_path: Path,
) -> None:
    file = recipe_file(tmp_path, "gpus: 0.5", "gpus: 0.5, accelerator: L4")
    spec = of(render_kubernetes(night(file), cloud(nodes="gpu=l4")), "RayJob")["spec"]
    (group,) = spec["rayClusterSpec"]["workerGroupSpecs"]
    told = group["rayStartParams"]["resources"]
    assert json.loads(json.loads(told)) == {"accelerator_type:L4": 1}
    with pytest.raises(RecipeError, match="accelerator: L4: --nodes must say which nodes have it"):
        render_kubernetes(night(file), cloud())


def test_a_worker_too_small_for_the_memory_of_its_actors_is_refused(tmp_path: Path) -> None:
    file = recipe_file(tmp_path, "gpus: 0.5", "gpus: 0.5, memory: 16GiB")
    with pytest.raises(RecipeError, match="--memory: 24Gi is less than the 46812Mi"):
        render_kubernetes(night(file), cloud(memory="24Gi"))


def test_spot_workers_are_a_group_of_their_own_and_the_head_is_never_among_them(
    cells: Night,
) -> None:
    cluster = of(render_kubernetes(cells, CLOUDS[1]), "RayJob")["spec"]["rayClusterSpec"]
    ordinary, spot = cluster["workerGroupSpecs"]
    assert spot["template"]["spec"]["nodeSelector"] == {"gpu": "l4", "spot": "true"}
    assert "affinity" not in spot["template"]["spec"]
    assert ordinary["template"]["spec"]["nodeSelector"] == {"gpu": "l4"}
    for pod in (cluster["headGroupSpec"]["template"]["spec"], ordinary["template"]["spec"]):
        assert "NotIn" in json.dumps(pod["affinity"])


def test_a_raycronjob_whose_night_could_reach_the_next_is_refused(tmp_path: Path) -> None:
    file = recipe_file(tmp_path)
    render_kuberay(night(file, deadline="7h"), CLOUDS[0])
    with pytest.raises(RecipeError, match="may take 1450 minutes, the next begins after 1380"):
        render_kuberay(night(file, deadline="8h"), CLOUDS[0])
    with pytest.raises(RecipeError, match="--to kubernetes"):
        render_kuberay(night(file, "0 */6 * * *"), CLOUDS[0])
    render_kubernetes(night(file, "0 */6 * * *"), CLOUDS[0])  # that one keeps them apart


def test_nights_of_a_raycronjob_are_deleted_in_time(cells: Night) -> None:
    files = render_kuberay(cells, CLOUDS[0])
    job = of(files, "RayCronJob")["spec"]["jobTemplate"]
    assert "shutdownAfterJobFinishes" not in job  # KubeRay refuses both
    ttl: dict[str, dict[str, int]] = {}
    for rule in job["deletionStrategy"]["deletionRules"]:
        condition = dict(rule["condition"])
        seconds = condition.pop("ttlSeconds")
        assert len(condition) == 1  # KubeRay: one of the two, not both
        ttl.setdefault(str(condition), {})[rule["policy"]] = seconds
    assert len(ttl) == 3
    assert all(each["DeleteCluster"] < each["DeleteSelf"] for each in ttl.values())
    assert "--feature-gates=RayCronJob=true" in files["raycronjob.yaml"]


def test_the_shipped_recipe_is_the_users_text_under_its_own_name(cells: Night) -> None:
    files = render_kubernetes(cells, CLOUDS[0])
    recipe, job = of(files, "ConfigMap"), of(files, "RayJob")["spec"]
    assert recipe["data"]["recipe.yaml"] == RECIPE
    assert recipe["immutable"]
    assert job["entrypoint"] == "noiseloom run cells.yaml"
    head = job["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    for pod in (head, job["submitterPodTemplate"]["spec"]):
        volume = next(v for v in pod["volumes"] if v["name"] == "recipe")["configMap"]
        assert volume["name"] == recipe["metadata"]["name"]
        assert volume["items"] == [{"key": "recipe.yaml", "path": "cells.yaml"}]
    fetch = head["initContainers"][0]
    assert fetch["command"] == ["noiseloom", "models", "fetch", "cells.yaml"]
    assert fetch["workingDir"] == "/etc/noiseloom/recipe"


def test_prompts_in_files_travel_inside_the_recipe(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("cells\n{{ counts.RBC }} red cells\n")
    mine = night(recipe_file(tmp_path, 'prompt: "cells"', f"prompt: {{file: {prompts}}}"))
    shipped = of(render_kubernetes(mine, CLOUDS[0]), "ConfigMap")["data"]["recipe.yaml"]
    prompts.unlink()
    (tmp_path / "there.yaml").write_text(shipped)
    assert load_recipe(tmp_path / "there.yaml").digest({}) == mine.recipe.digest({})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("s3://lab/cells/", "data/", r"source.shards\[0\]: data/train"),
        ("s3://lab/cells-woven", "out/cells", "sink: out/cells is on this machine"),
        ("s3://lab/cells-woven", "file:///srv/out", "sink: file:///srv/out is on this machine"),
        (
            "diffusers: stabilityai/sdxl-turbo",
            "diffusers: w/x/turbo",
            "models.turbo: w/x/turbo is on",
        ),
        (f"revision: {REVISION}", "revision: main", "models.turbo: .*main.*full commit"),
        ("https://mlflow.example.com", "sqlite:///mlflow.db", "tracking.uri: sqlite:///mlflow.db"),
        ("https://mlflow.example.com", "mlruns", "tracking.uri: mlruns is a file"),
        ("https://mlflow.example.com", "https://me:pw@example.com", "belongs into a --secret"),
    ],
)
def test_what_no_pod_can_reach_is_refused_with_its_place_in_one_line(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    file = recipe_file(tmp_path, old, new)
    mine = night(file)
    for render in TARGETS:
        with pytest.raises(RecipeError, match=said) as refused:
            render(mine, CLOUDS[0])
    assert "\n" not in str(refused.value)
    assert "pw" not in str(refused.value)


def test_probes_ask_the_ports_that_ray_is_told_to_listen_on(cells: Night) -> None:
    cluster = of(render_kubernetes(cells, CLOUDS[0]), "RayJob")["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], cluster["workerGroupSpecs"][0]):
        ray = group["template"]["spec"]["containers"][0]
        for probe in (ray["readinessProbe"], ray["livenessProbe"]):
            python, flag, code = probe["exec"]["command"]
            compile(code, "probe", "exec")
            assert (python, flag) == ("python", "-c")
            assert f":{group['rayStartParams']['dashboard-agent-listen-port']}/" in code


def test_models_on_the_volume_are_mounted_and_nothing_is_fetched(tmp_path: Path) -> None:
    text = RECIPE.replace("diffusers: stabilityai/sdxl-turbo", "diffusers: /models/turbo")
    (tmp_path / "cells.yaml").write_text(text.replace(f"    revision: {REVISION}\n", ""))
    cluster = of(render_kubernetes(night(tmp_path / "cells.yaml"), CLOUDS[0]), "RayJob")
    head = cluster["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert "initContainers" not in head
    claims = [v["persistentVolumeClaim"] for v in head["volumes"] if "persistentVolumeClaim" in v]
    assert claims == [{"claimName": "noiseloom-models", "readOnly": True}]


@pytest.mark.parametrize("stem", ["two words", "paren(s)", "cöln"])
def test_a_name_that_a_shell_would_read_is_refused(tmp_path: Path, stem: str) -> None:
    with pytest.raises(RecipeError, match="its name: goes through a shell"):
        render_kubernetes(night(recipe_file(tmp_path, name=f"{stem}.yaml")), CLOUDS[0])


@pytest.mark.parametrize(
    "stem", ["cells", "Cells", "cells_v2", "cells.v2", "x" * 90, "9lives", "_", "a-"]
)
def test_every_name_is_one_that_kuberay_takes_and_no_two_recipes_share_one(
    tmp_path: Path, stem: str
) -> None:
    name = night(recipe_file(tmp_path, name=f"{stem}.yaml")).name
    assert len(name) <= 40
    assert name.replace("-", "").isalnum() and name == name.lower() and not name.endswith("-")
    assert stem == "cells" or name != "noiseloom-cells"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"namespace": "Lab"}, "--namespace: 'Lab'"),
        ({"secrets": ("a b",)}, "--secret: 'a b'"),
        ({"models_claim": ""}, "--models-claim: ''"),
        ({"spot": "spot"}, "--spot: 'spot' is no label of nodes; write name=value"),
        ({"memory": "30GB"}, "--memory: '30GB' is no size; write 24Gi"),
    ],
)
def test_facts_of_the_cluster_are_checked(given: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        cloud(**given)


@pytest.mark.parametrize("image", ["noiseloom", "r/noiseloom:1.0", "r/n@sha256:abc"])
def test_an_image_without_its_digest_is_refused(image: str) -> None:
    with pytest.raises(RecipeError, match="a tag is another image tomorrow"):
        Cloud(image)
