"""Nothing that is read is ever run: a payload lies in every place that a library might unpickle.

What the payload does is make a file, where the process works; no test may find it there.
"""

from __future__ import annotations

import io
import json
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from rich.console import Console

from jobs.cli.main import main
from jobs.tracking.run import tracked
from pipeline.detection.detector import load_detector
from pipeline.diffusion.latent import load_latents
from pipeline.images.formats import read_picture
from pipeline.index.files import read_index
from pipeline.models import describe, load_models
from pipeline.storage.store import Store
from schemas.errors import ModelError, SinkError
from schemas.models import NativeModel
from schemas.recipe import Tracking
from tests.bad.code import CANARY, npy, payload, torch_file
from tests.jobs.sinks import finish, planned_run, weave
from tests.models import tiny_denoiser
from tests.pipeline.shards import painted

WEIGHTS = {"pickle": payload(), "pickle_4": payload(4), "torch": torch_file(), "numpy": npy()}
CALL = f"!!python/object/apply:builtins.open [{CANARY}, w]"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Every test works in a folder of its own, and leaves no canary there."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not Path(CANARY).exists(), "something was unpickled"


@pytest.mark.parametrize("data", [payload(), payload(4)])
def test_the_canary_sings_where_somebody_unpickles(data: bytes) -> None:
    pickle.loads(data).close()
    canary = Path(CANARY)
    assert canary.exists()
    canary.unlink()


@pytest.mark.parametrize("data", WEIGHTS.values(), ids=WEIGHTS)
def test_weights_that_are_a_pickle_are_refused_by_name(here: Path, data: bytes) -> None:
    folder = here / "model"
    tiny_denoiser(folder)
    for name in ("model.pt", "model.bin", "model.ckpt", "pytorch_model.bin", "model.pth"):
        (folder / name).write_bytes(data)
    spec = NativeModel(native=str(folder))
    assert list(load_models({"denoiser": spec}, "cpu")) == ["denoiser"]  # these are not looked at
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        load_models({"denoiser": spec}, "cpu")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no such file"):
        load_models({"denoiser": spec}, "cpu")


@pytest.mark.parametrize(
    "text",
    [
        payload(),
        json.dumps({"does": "denoise", "auto_map": {"AutoModel": "evil.Model"}}).encode(),
        json.dumps({"does": "denoise", "_target_": "builtins.open", "args": [CANARY]}).encode(),
        json.dumps({"does": ["__reduce__"], "classes": 3}).encode(),
        json.dumps(["open", CANARY, "w"]).encode(),
        b"[" * 100_000,
    ],
)
def test_a_configuration_that_is_none_is_refused(here: Path, text: bytes) -> None:
    folder = here / "model"
    tiny_denoiser(folder)
    (folder / "config.json").write_bytes(text)
    with pytest.raises(ModelError, match=r"config\.json"):
        load_models({"denoiser": NativeModel(native=str(folder))}, "cpu")
    with pytest.raises(ModelError, match=r"config\.json"):
        load_detector(folder)


@pytest.mark.parametrize("name", ["safetensors", "bin"])
def test_an_autoencoder_is_safetensors_alone(here: Path, name: str) -> None:
    folder = here / "vae"
    folder.mkdir()
    config = {"_class_name": "AutoencoderKL", "block_out_channels": [8, 8]}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / f"diffusion_pytorch_model.{name}").write_bytes(torch_file())
    with pytest.raises(ModelError, match="vae"):
        load_latents(folder, torch.device("cpu"))


def parquet(path: Path) -> None:
    """A file whose schema says: what this is, unpickle me."""
    kind = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": payload(),
    }
    field = pa.field("key", pa.binary(), metadata=kind)
    schema = pa.schema([field], metadata={b"pandas": payload()})
    pq.write_table(pa.table({"key": [b"x"]}, schema=schema), path)


def test_an_index_with_a_payload_is_refused(here: Path) -> None:
    (here / "out" / "index").mkdir(parents=True)
    parquet(here / "out" / "index" / "run-12345678.parquet")
    with pytest.raises(SinkError, match=r"run-12345678\.parquet"):
        read_index(Store("out"))
    (here / "out" / "index" / "run-12345678.parquet").write_bytes(payload())
    with pytest.raises(SinkError, match=r"run-12345678\.parquet"):
        read_index(Store("out"))


def ended(*words: str) -> str:
    """What a command says; it ends with a code of its own and no traceback."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["noiseloom", *words])
        with pytest.raises(SystemExit) as caught:
            main()
    return str(caught.value.code)


def test_no_file_of_a_sink_is_trusted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planned = planned_run(here)
    weave(planned)
    finish(planned)
    assert ended("verify", "out") == "0"
    files = sorted(path for path in (here / "out").rglob("*") if path.is_file())
    assert len({path.parent for path in files}) >= 5
    for path in files:
        whole = path.read_bytes()
        path.write_bytes(payload())
        code = ended("verify", "out", "--replay", "1")
        err = capsys.readouterr().err
        assert "Traceback" not in err, f"{path}: {err}"
        assert code in "123", f"{path}: {err}"
        path.write_bytes(whole)


def picture(format: str) -> bytes:
    """An image that carries the payload wherever the format lets it."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x927C] = payload()  # maker's notes
    exif.get_ifd(0x8769)[0x9286] = payload()
    text = PngInfo()
    text.add_text("pickle", payload(0).decode("latin-1"))
    text.add(b"piCk", payload())
    options: dict[str, object] = {"png": {"pnginfo": text}, "tiff": {"tiffinfo": {700: payload()}}}
    buffer = io.BytesIO()
    image = Image.fromarray(painted(24, 32, []))
    image.save(buffer, format, exif=exif, **options.get(format, {}))  # type: ignore[arg-type]
    return buffer.getvalue()


@pytest.mark.parametrize("format", ["png", "jpeg", "webp", "tiff"])
def test_metadata_of_an_image_is_data(format: str) -> None:
    data = picture(format)
    assert CANARY.encode() in data
    assert read_picture(data).image_hwc.shape == (24, 32, 3)


def mlruns(here: Path) -> str:
    """A folder of MLflow's whose description calls a function."""
    (here / "mlruns" / "0").mkdir(parents=True)
    (here / "mlruns" / "0" / "meta.yaml").write_text(f"experiment_id: {CALL}\nname: {CALL}\n")
    return f"file:{here}/mlruns"


def database(here: Path) -> str:
    """A database that is a pickle."""
    (here / "m.db").write_bytes(payload() * 100)
    return f"sqlite:///{here}/m.db"


@pytest.mark.filterwarnings("ignore")  # of MLflow's own, for folders
@pytest.mark.parametrize("where", [mlruns, database, lambda here: f"pickle://{here}/{CANARY}"])
def test_mlflow_finds_nothing_to_run(here: Path, where: Callable[[Path], str]) -> None:
    planned = planned_run(here)
    out = io.StringIO()
    tracking = Tracking(uri=where(here), experiment="Default")
    with tracked(tracking, planned, {}, Console(file=out, width=500)) as tracker:
        tracker.summary({"kept": 1.0})
    assert len(out.getvalue().splitlines()) <= 2


def test_the_formats_that_are_imported_run_nothing(here: Path) -> None:
    (here / "images").mkdir()
    for name, text in {"a.json": payload(), "data.yaml": f"names: {CALL}".encode()}.items():
        (here / name).write_bytes(text)
    assert ended("import", "coco", "a.json", "images", "out") == "2"
    assert ended("import", "yolo", "data.yaml", "out") == "2"


def test_numpy_keeps_its_own_promise() -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        np.load(io.BytesIO(npy()))
    assert describe.__module__ == "pipeline.models"
