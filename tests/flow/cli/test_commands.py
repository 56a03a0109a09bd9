from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

COMMAND = [sys.executable, "-c", "from flow.cli import main; main()"]
Ace = Callable[..., "subprocess.CompletedProcess[str]"]

BOUND = ["--bind", "camera=synthetic:pen"]
COMMANDS = [
    *("demo", "run", "validate", "schema", "plan", "explain", "prepare", "ops", "devices", "quantize", "pack", "inspect"),
    *("agent", "cloud", "query", "download", "reload", "reset", "bench", "rollout", "fleet", "trust"),
]


def test_help_names_every_command(ace: Ace) -> None:
    done = ace("--help")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.partition("Commands:\n")[2].splitlines()] == COMMANDS


def test_version(ace: Ace) -> None:
    from importlib.metadata import version

    assert ace("--version").stdout == f"ace {version('ace-engine')}\n"


def test_a_folder_may_hold_other_files(ace: Ace, tmp_path: Path) -> None:
    (tmp_path / "ace.schema.json").write_text(ace("schema").stdout)
    (tmp_path / "compose.yaml").write_text("services: {web: {image: nginx}}\n")
    done = ace("validate", ".")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("skipped, for they do not say `apiVersion: ace/v1`: ace.schema.json, compose.yaml\nvalid: motion (")
    assert ace("validate", ".", "compose.yaml").returncode == 2, "a file that is named is read"


def test_models_alone_are_nothing_to_run(ace: Ace, network: Path) -> None:
    text = "apiVersion: ace/v1\nkind: Model\nname: square\nversion: 1.0.0\nfile: square.onnx\n"
    network.with_name("square.yaml").write_text(text)
    done = ace("run", "square.yaml")
    assert (done.returncode, done.stderr) == (2, "expected a business to run, got none; give the path of its manifest (kind: Business)\n")
    done = ace("validate", "square.yaml")
    assert (done.returncode, done.stderr) == (0, "valid, but there is no business to run; a model is read when a business uses it\n")


def test_an_unknown_command_names_the_nearest(ace: Ace) -> None:
    done = ace("vaildate", "motion.yaml")
    assert done.returncode == 2
    assert "Did you mean 'validate'?" in done.stderr


def test_validate_needs_no_source(ace: Ace) -> None:
    done = ace("validate", "motion.yaml")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("valid: motion (")


def test_validate_needs_no_camera_and_no_secret(ace: Ace, tmp_path: Path) -> None:
    (tmp_path / "device.yaml").write_text(
        "apiVersion: ace/v1\nkind: Device\nname: room\n"
        "streams: {front: {source: rtsp://camera.invalid/1, secret: NO_SUCH_SECRET}}\n"
        "businesses: [{use: motion, bind: {camera: front}}]\n"
    )
    assert ace("validate", "motion.yaml", "device.yaml").returncode == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("track.iou", "track.iuo", "motion.yaml:8"),
        ("track.iou", "track.iuo", "did you mean `track.iou`"),
        ("warmup", "warmpu", "did you mean `warmup`"),
        ("{warmup: 2}", "{warmup: -1}", "motion.yaml:7"),
        ("moving.detections", "moving.detection", "did you mean `moving.detections`"),
        ("{image: camera}", "{imagee: camera}", "did you mean `image`"),
        ("outputs:", "output:", "did you mean `outputs`"),
        ("moving.detections", "detections", "if it is a port, name its node too: `NODE.detections`"),
        ("warmup: 2", "warmup: many", "expected a whole number, got `many`"),
    ],
)
def test_validate_names_line_and_nearest_name(ace: Ace, tmp_path: Path, old: str, new: str, said: str) -> None:
    file = tmp_path / "motion.yaml"
    file.write_text(file.read_text().replace(old, new))
    done = ace("validate", "motion.yaml")
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_schema_is_json_schema(ace: Ace) -> None:
    schema = json.loads(ace("schema").stdout)
    assert schema["$defs"].keys() >= {"Model", "Business", "Device"}


def test_plan_as_text_json_and_svg(ace: Ace) -> None:
    text = ace("plan", "motion.yaml", *BOUND)
    assert text.returncode == 0, text.stderr
    document = json.loads(ace("plan", "motion.yaml", *BOUND, "--format", "json").stdout)
    assert document["plan"] in text.stdout
    assert "motion.tracks → standard output" in text.stdout
    assert {node["op"] for node in document["nodes"]} == {"image.convert", "motion.background", "track.iou"}
    assert document["nodes"][0].keys() >= {"address", "op", "businesses", "device", "engine", "model", "inputs", "outputs"}
    assert document["shared_memory_bytes"] > 0
    assert document["ram_bytes"] > 0
    svg = ace("plan", "motion.yaml", *BOUND, "--format", "svg").stdout
    assert ElementTree.fromstring(svg).tag.endswith("svg")


def test_plan_refuses_another_format(ace: Ace) -> None:
    done = ace("plan", "motion.yaml", *BOUND, "--format", "jsno")
    assert done.returncode == 2
    assert "did you mean 'json'?" in done.stderr


def test_plan_shows_what_links_and_workers_change(ace: Ace) -> None:
    document = json.loads(ace("plan", "motion.yaml", *BOUND, "--format", "json", "--workers", "threads", "--link", "zmq").stdout)
    assert (document["workers"], document["link"]) == ("threads", "zmq")


def test_plan_shows_a_model_before_and_after_compiling(ace: Ace) -> None:
    from manifests import examples

    text = ace("plan", str(examples.path()), "--model", "scenes")
    assert text.returncode == 0, text.stderr
    assert "scenes@1.0.0, scenes.onnx: as in the file" in text.stdout
    assert "scenes@1.0.0: as ONNX Runtime compiled it here" in text.stdout
    graphs = json.loads(ace("plan", str(examples.path()), "--model", "scenes@1.0.0", "--format", "json").stdout)
    before, after = graphs["before"], graphs["after"]
    assert before[0]["op"] == "Conv"
    assert before[0]["inputs"] == ["images"]
    assert list(before[-1]["outputs"]) == ["output"]
    assert len(after) < len(before)
    assert not any(node["op"] == "Relu" for node in after), "activations are fused"


def test_plan_refuses_a_model_that_is_not_in_it(ace: Ace) -> None:
    from manifests import examples

    done = ace("plan", str(examples.path()), "--model", "scene")
    assert done.returncode == 2
    assert "did you mean 'scenes'?" in done.stderr


def test_explain_names_what_is_shared(ace: Ace, tmp_path: Path) -> None:
    (tmp_path / "twin.yaml").write_text((tmp_path / "motion.yaml").read_text().replace("name: motion", "name: twin"))
    done = ace("explain", "motion.yaml", "twin.yaml", *BOUND)
    assert done.returncode == 0, done.stderr
    assert "motion" in done.stdout
    assert "twin" in done.stdout
    assert "motion.background" in done.stdout or "motion.moving" in done.stdout


def test_ops_lists_the_library_and_shows_one(ace: Ace) -> None:
    names = [line.split()[0] for line in ace("ops").stdout.splitlines()]
    assert names[0] == "operator"
    assert {"detect.yolox", "track.byte", "boxes.nms"} <= set(names)
    assert "  score: number 0..1 (0.35)" in ace("ops", "detect.yolox").stdout


def test_ops_names_the_nearest_operator(ace: Ace) -> None:
    done = ace("ops", "detect.yolo")
    assert done.returncode == 2
    assert "did you mean 'detect.yolox'?" in done.stderr


def test_devices_lists_the_processor_and_its_engines(ace: Ace) -> None:
    head, *lines = ace("devices").stdout.splitlines()
    assert head.split()[0] == "device"
    assert any(line.split()[0] == "cpu" and "onnxruntime" in line and line.endswith("yes") for line in lines)
    assert any(line.startswith("vpu  ") and " (emulated: 512 KiB local, 64 GMAC/s, 4000 MB/s) " in line for line in lines)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A model of one multiplication."""
    import onnx
    from onnx import TensorProto, helper

    node = helper.make_node("Mul", ["x", "x"], ["y"])
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8])] for name in "xy"]
    model = helper.make_model(helper.make_graph([node], "square", *ends), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "square.onnx")
    return tmp_path / "square.onnx"


def test_bench_model_as_json(ace: Ace, network: Path) -> None:
    done = ace("bench", "model", network.name, "--threads", "1", "--json")
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured.keys() == {
        "model", "engine", "emulated", "precision", "threads", "median_ms", "p99_ms", "load_ms", "first_ms", "peak_mb", "runs",
    }  # fmt: skip
    assert (measured["engine"], measured["threads"]) == ("onnxruntime", 1)


def test_bench_model_takes_sizes_that_the_file_leaves_open(ace: Ace, tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    node = helper.make_node("Mul", ["x", "x"], ["y"])
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, [8, "columns"])] for name in "xy"]
    model = helper.make_model(helper.make_graph([node], "square", *ends), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "open.onnx")
    assert "'columns'" in ace("bench", "model", "open.onnx").stderr
    assert ace("bench", "model", "open.onnx", "--dims", "columns=4").returncode == 0
    done = ace("bench", "model", "open.onnx", "--dims", "columns=four")
    assert done.returncode == 2
    assert "expected a size of 1 or more" in done.stderr


def test_bench_model_names_the_models_that_are_there(ace: Ace, network: Path) -> None:
    done = ace("bench", "model", "sqare.onnx")
    assert done.returncode == 2
    assert f"in {network.parent} there is square.onnx; did you mean 'square.onnx'?" in " ".join(done.stderr.split())


def test_bench_model_refuses_what_is_none(ace: Ace, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    for arguments in (["broken.onnx"], ["missing.onnx"], ["broken.onnx", "--engine", "onnxruntim"]):
        done = ace("bench", "model", *arguments)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", [["devices"], ["schema"], ["--help"]])
def test_a_full_disk_is_a_message_and_status_1(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "ace: standard output: No space left on device\n"


def test_a_reader_that_leaves_is_no_message() -> None:
    done = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$@" schema | true', "bash", *COMMAND], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
