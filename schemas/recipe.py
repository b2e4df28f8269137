"""The recipe: a whole run as one YAML file.

`Recipe` is generic over ops and gates, which live in `pipeline`; `pipeline.recipe` puts the two
together and loads files. Relative paths are relative to the working directory, as MLflow's are.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from schemas.index import SCHEMA_VERSION
from schemas.members import IMAGE_SUFFIXES
from schemas.models import AnyModel
from schemas.pools import PoolSpec
from schemas.spec import Spec

OpT = TypeVar("OpT", bound=BaseModel)
GateT = TypeVar("GateT", bound=BaseModel)


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_one_or_many), Field(min_length=1)]
"""A list of names; a single one may be written without brackets."""


DropBox = Literal["drop_box", "quarantine"]


class RepairPolicies(Spec):
    """What is done about a fault of one object in a labels file, by its slug: `quarantine`, the
    default, fails the sample and keeps its bytes; `drop_box` leaves the object out, box, label and
    mask; `clip` cuts its box at the border of the image. Every repair is written into the index.

    Faults of the whole file have no policy, because nothing says what was meant: `count_mismatch`
    (which box has which label?), `size_mismatch` (labels of another image, or scaled?),
    `bad_labels`, `labels_too_large`, a missing file. Nor has a class-id map, where there is no
    object to leave out: `unknown_class_id`, `bad_class_map` and `class_map_size` quarantine.
    """

    box_not_finite: DropBox = "quarantine"
    box_reversed: DropBox = "quarantine"
    box_empty: DropBox = "quarantine"
    box_out_of_range: Literal["clip", "drop_box", "quarantine"] = "quarantine"
    bad_mask: DropBox = "quarantine"
    unknown_class: DropBox = "quarantine"

    def given(self) -> dict[str, str]:
        """Those that are not `quarantine`."""
        return {slug: policy for slug, policy in self if policy != "quarantine"}


class Source(Spec):
    """Where the samples are, and which member of a tar is what.

    `shards`: paths or URLs; `{000..047}` counts, `*` matches. `classes` and `seg_classes` name the
    legal labels; without them whatever stands in the data is accepted. `repair`: what is done about
    faults in labels.
    """

    shards: Names
    image: Names = IMAGE_SUFFIXES
    labels: str | None = "json"
    segmentation: str | None = None
    classes: tuple[str, ...] | None = None
    seg_classes: tuple[str, ...] | None = None
    repair: RepairPolicies = Field(default_factory=RepairPolicies)


def _no_sixties(value: object) -> object:
    """YAML 1.1 takes 4:2:0 without quotes for a number to the base of 60."""
    words = {14644: "4:4:4", 14522: "4:2:2", 14520: "4:2:0"}
    return words.get(value, value) if isinstance(value, int) else value


Subsampling = Annotated[Literal["4:4:4", "4:2:2", "4:2:0"], BeforeValidator(_no_sixties)]


class Output(Spec):
    """How images are written: `png`, without loss, unless the recipe says otherwise.

    `quality` (90) is of jpeg and of lossy webp, `subsampling` of the colours (4:4:4, none) of jpeg,
    `lossless` of webp. Class-id maps are PNG always. `rejected: store` writes what the gates
    reject, too, into tars of their own: other gates can bring it back (`noiseloom regate`).
    """

    format: Literal["png", "jpeg", "webp"] = "png"
    quality: Annotated[int, Field(ge=1, le=100)] | None = None
    subsampling: Subsampling | None = None
    lossless: bool | None = None
    rejected: Literal["drop", "store"] = "drop"

    @model_validator(mode="after")
    def _settings_of_this_format(self) -> Output:
        legal = _SETTINGS[self.format]
        for name, value in self:
            if name not in ("format", "rejected") and value is not None and name not in legal:
                takes = f"takes {' and '.join(legal)}" if legal else "is lossless and takes none"
                raise ValueError(f"{name} is not a setting of {self.format}, which {takes}")
        if self.lossless and self.quality is not None:
            raise ValueError("give quality, or lossless: true, not both")
        return self

    @property
    def suffix(self) -> str:
        """Of the image's member."""
        return "jpg" if self.format == "jpeg" else self.format

    @property
    def lossy(self) -> bool:
        """Whether pixels change when they are written."""
        return self.format == "jpeg" or (self.format == "webp" and not self.lossless)

    def settings(self) -> dict[str, object]:
        """What the format is told, with the defaults."""
        given = {"quality": self.quality or 90, "subsampling": self.subsampling or "4:4:4"}
        if self.format == "webp" and self.lossless:
            return {"lossless": True}
        return {name: given[name] for name in _SETTINGS[self.format] if name in given}


_SETTINGS = {"png": (), "jpeg": ("quality", "subsampling"), "webp": ("quality", "lossless")}


class Tracking(Spec):
    """Where the run is tracked in MLflow; `uri: null` switches tracking off."""

    uri: str | None = "sqlite:///mlflow.db"
    experiment: str = "noiseloom"


class Budget(Spec):
    """What a run may spend: the share of attempted samples that may fail before it stops, and how
    many more copies samples with rare classes get.

    `rare: t` is repeat-factor sampling (LVIS, Gupta et al. 2019, app. B): a class that a share f of
    the images holds has the factor max(1, √(t/f)), an image the largest of its classes', and its
    copies are multiplied with that, `most` at most.
    """

    failed: float = Field(0.01, ge=0, le=1)
    rare: float | None = Field(None, gt=0, le=1, description="classes in fewer images than this")
    most: float = Field(4, ge=1, le=100, description="rare: the largest factor")


Requirement = Literal["not_hurting", "helping"]


class Publish(Spec):
    """On what verdict of a lift test of its own copies a run is published. `lift`: that test's
    file, whose baseline the copies are held against.
    """

    require: Requirement
    lift: str = Field(min_length=1)


class Recipe(Spec, Generic[OpT, GateT]):
    """A whole run. `digest()` covers what shapes the output: not the sink, the resources, the
    tracking or what publishing asks for.
    """

    source: Source
    sink: str = Field(min_length=1)
    seed: int = Field(0, ge=0, lt=2**63)
    copies: int = Field(1, ge=1, le=1000)
    chunk_size: int = Field(64, ge=1, le=4096)
    ops: tuple[OpT, ...] = Field(min_length=1)
    gates: tuple[GateT, ...] = ()
    models: dict[str, AnyModel] = Field(default_factory=dict)
    output: Output = Field(default_factory=Output)
    resources: PoolSpec = Field(default_factory=PoolSpec)
    tracking: Tracking = Field(default_factory=Tracking)
    budget: Budget = Field(default_factory=Budget)
    publish: Publish | None = None

    def digest(self, model_digests: dict[str, str]) -> str:
        """16 hex digits over everything that shapes the output, models by their content."""
        around = {"sink", "models", "resources", "tracking", "budget", "publish"}
        shape = self.model_dump(mode="json", exclude=around)
        shape["source"].pop("shards")
        for op in shape["ops"]:
            op.pop("resources", None)
        if self.output.rejected == "drop":  # the digests of runs from before this setting
            shape["output"].pop("rejected")
        shape["source"]["repair"] = self.source.repair.given()  # a new slug changes no digest
        return digest_of({"recipe": shape, "models": model_digests, "schema": SCHEMA_VERSION})


def digest_of(value: Any) -> str:
    """16 hex digits of BLAKE2b over canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
