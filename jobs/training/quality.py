"""`noiseloom quality MODEL DATA`: what a model is worth, in tables with pictures beside them.

MODEL is the folder of a denoiser or an upscaler. DATA is a pattern of shards, or a training
configuration (YAML), whose validation data are judged and whose training data serve `synthesize`.

    upscale      an upscaler against bicubic
    fill         inpaint: regions, against OpenCV's filling
    background   inpaint: background, likewise
    remove       inpaint: remove, judged by a detector
    redraw       inpaint: redraw, judged by a detector
    noise        noise_denoise over strength, judged by a detector
    synthesize   a detector trained on made pairs, against one trained on as many real ones

Every part is written when it is done and not measured again while the model, the data and the
settings are the same: a killed run goes on. The section in the model's card is written last.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from rich.console import Console
from rich.progress import track as rich_track

from jobs.training.quality_report import print_table, save_pictures, write_into_card, write_page
from pipeline.config import load_config
from pipeline.model import ModelCard
from pipeline.models import describe, load_models
from pipeline.quality.table import Result, Table
from pipeline.samples import evenly, load_samples
from pipeline.training.config import CONFIGS
from schemas.errors import ModelError, RecipeError, SourceError
from schemas.models import NativeModel
from schemas.recipe import Source, digest_of
from schemas.sample import Sample

if TYPE_CHECKING:
    from pipeline.detection.detector import Detector
    from pipeline.model import Model

T = TypeVar("T")

OF_DENOISER: Final = ("fill", "background", "remove", "redraw", "noise", "synthesize")
OF_UPSCALER: Final = ("upscale",)
JUDGED: Final = {"remove", "redraw", "noise", "synthesize"}
"""Parts that need a detector."""
VERSION: Final = 1
"""Of the measurements: another one measures every part again."""


@dataclass(frozen=True)
class Settings:
    """What a person may choose. `images`: at most so many of each part; `pairs` and `steps`: of
    synthesize, and of the detectors that learn from them.
    """

    images: int = 24
    pairs: int = 48
    steps: int = 400
    seed: int = 0
    only: tuple[str, ...] = ()
    detector: Path | None = None
    out: Path | None = None
    threads: int = 1


def quality(model: Path, data: str, settings: Settings, console: Console) -> Path:
    """Measures every part that the model and the data allow; returns the folder of the page."""
    bench = _Bench(model, data, settings, console)
    parts = []
    for part in bench.parts():
        table, pictures = bench.measured(part)
        print_table(table, console)
        parts.append((table, pictures))
    out = bench.out
    write_page(out, f"{model.absolute().parent.name} {model.name}", data, parts)
    if out.absolute().parent == model.absolute():
        write_into_card(model / "README.md", out.name, data, parts)
    console.print(f"page: [bold]{out / 'README.md'}[/]", soft_wrap=True)
    return out


class _Bench:
    """A model, the samples it is judged on, and the detector that judges."""

    def __init__(self, model: Path, data: str, settings: Settings, console: Console) -> None:
        self.folder, self.data, self.settings, self.console = model, data, settings, console
        self.card: ModelCard = describe(NativeModel(native=str(model)))
        self.validation, self.training = _sources(data, self.card)
        self.out = settings.out or model / "quality"
        self.out.mkdir(parents=True, exist_ok=True)

    def parts(self) -> list[str]:
        """Those that can be measured, in the order of the page; says which cannot, and why."""
        legal = OF_UPSCALER if "upscale" in self.card.does else OF_DENOISER
        if "denoise" not in self.card.does and legal is OF_DENOISER:
            raise ModelError(f"{self.folder}: quality judges denoisers and upscalers")
        unknown = [name for name in self.settings.only if name not in legal]
        if unknown:
            raise RecipeError(f"--only {unknown[0]}: this model has {', '.join(legal)}")
        wanted = [name for name in legal if name in (self.settings.only or legal)]
        return [name for name in wanted if self._possible(name)]

    def _possible(self, part: str) -> bool:
        if part in JUDGED and self._detector_folder is None:
            self.console.print(f"{part}: left out, it needs --detector FOLDER")
            return False
        if part == "synthesize" and self.training is None:
            self.console.print(
                "synthesize: left out, it needs training data; give a training YAML as DATA"
            )
            return False
        return True

    def measured(self, part: str) -> tuple[Table, dict[str, str]]:
        """A part's table and the names of its pictures: read, or measured and written."""
        path = self.out / f"{part}.json"
        key = self._key(part)
        if path.is_file():
            record = json.loads(path.read_bytes())
            if record["key"] == key:
                return Table.model_validate(record["table"]), record["pictures"]
        result = self._experiment(part)()
        pictures = save_pictures(result, self.out)
        record = {"key": key, "pictures": pictures, "table": result.table.model_dump(mode="json")}
        path.write_text(json.dumps(record, indent=1) + "\n")
        return result.table, pictures

    def _key(self, part: str) -> str:
        """Of everything that a part's numbers depend on."""
        settings = self.settings
        detector = self.detector.digest if part in JUDGED else ""
        lesson = [settings.pairs, settings.steps] if part == "synthesize" else []
        keys = [(sample.key, sample.lineage.content) for sample in self.samples]
        return digest_of([VERSION, part, self.card.digest, detector, keys, lesson, settings.seed])

    def _experiment(self, part: str) -> Callable[[], Result]:
        seed, track = self.settings.seed, self.track
        if part == "upscale":
            from pipeline.diffusion.native import NativeUpscaler
            from pipeline.quality.upscaling import upscale_experiment

            assert isinstance(self.model, NativeUpscaler)
            return partial(upscale_experiment, self.model, self.samples, seed, track)
        if part in ("fill", "background"):
            from pipeline.quality.filling import fill_experiment

            place: Literal["regions", "background"] = "regions" if part == "fill" else "background"
            return partial(fill_experiment, place, self.model, self.samples, seed, track)
        if part in ("remove", "redraw"):
            from pipeline.quality.objects import object_experiment

            what: Literal["remove", "redraw"] = "remove" if part == "remove" else "redraw"
            return partial(
                object_experiment, what, self.model, self.detector, self.samples, seed, track
            )
        if part == "noise":
            from pipeline.quality.strength import strength_experiment

            return partial(
                strength_experiment, self.model, self.detector, self.samples, seed, track
            )
        return self._synthetic

    def _synthetic(self) -> Result:
        from pipeline.quality.synthetic import SCHOOLING, synthetic_experiment

        assert self.training is not None
        real = _load(self.training, self.settings.pairs)
        everything = _load(self.validation, None)
        net = self.detector.config.model_copy(update={"thresholds": ()})
        return synthetic_experiment(
            self.model,
            real,
            everything,
            net,
            self.out / ".pairs",
            self.settings.seed,
            self.track,
            SCHOOLING.model_copy(update={"steps": self.settings.steps}),
        )

    @cached_property
    def model(self) -> Model:
        """Loaded when the first part needs it."""
        import torch

        torch.set_num_threads(self.settings.threads)
        return load_models({"model": NativeModel(native=str(self.folder))}, "cpu")["model"]

    @cached_property
    def samples(self) -> list[Sample]:
        """What is judged, spread over the source."""
        return _load(self.validation, self.settings.images)

    @cached_property
    def detector(self) -> Detector:
        """The judge."""
        from pipeline.detection.detector import load_detector

        assert self._detector_folder is not None
        return load_detector(self._detector_folder)

    @property
    def _detector_folder(self) -> Path | None:
        """The one that is named, or the folder `detector` beside the model."""
        beside = self.folder.absolute().parent / "detector"
        if self.settings.detector is not None:
            return self.settings.detector
        return beside if (beside / "config.json").is_file() else None

    def track(self, items: Sequence[T], what: str) -> Iterable[T]:
        """With a progress bar."""
        return rich_track(items, what, console=self.console, transient=True)


def _sources(data: str, card: ModelCard) -> tuple[Source, Source | None]:
    """What is judged, and what `synthesize` may learn from."""
    if data.endswith((".yaml", ".yml")):
        config = load_config(data, CONFIGS["upscaler" if "upscale" in card.does else "denoiser"])
        return config.validation or config.data, config.data
    if "upscale" in card.does:
        return Source(shards=(data,), labels=None), None
    source = Source(
        shards=(data,),
        segmentation="seg.png" if card.seg_classes else None,
        classes=card.classes,
        seg_classes=card.seg_classes or None,
    )
    return source, None


def _load(source: Source, most: int | None) -> list[Sample]:
    samples, problems = load_samples(source, most)
    if not samples:
        why = f": {problems[0]}" if problems else ""
        raise SourceError(f"{', '.join(source.shards)}: not one sample can be used{why}")
    return evenly(samples, most)
