"""Models as a recipe names them: one mapping for each, whose first key says of what kind it is.

    denoiser: {native: weights/bccd/denoiser}
    painter:  {diffusers: stabilityai/sdxl-turbo, revision: <40 hex digits>}
    upscaler: {spandrel: weights/RealESRGAN_x2plus.safetensors}
    detector: {torchvision: fasterrcnn_resnet50_fpn, weights: cells.safetensors, classes: {1: RBC}}
    segmenter: {onnx: cells.onnx, classes: {0: background, 1: nucleus}}

Whatever is loaded is pinned: a file or a folder by its content, a repository by its full commit.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    field_validator,
    model_validator,
)

from schemas.spec import Spec

TAG: Final = "model:"
"""In front of a kind, where pydantic names the branch of the union: no key of a file begins so."""

Revision = Annotated[str | None, Field(description="full commit of a repository, 40 hex digits")]


def _listed(value: object) -> object:
    return [value] if isinstance(value, dict) else value


def _loras(value: object) -> object:
    """One file alone, or several, with and without a scale."""
    several = [value] if isinstance(value, dict | str) else value
    if not isinstance(several, list):
        return value
    return [{"lora": one} if isinstance(one, str) else one for one in several]


class NativeModel(Spec):
    """One of our own networks: a folder with `config.json` and `model.safetensors`."""

    native: str = Field(min_length=1)


class Lora(Spec):
    """Low-rank weights that are added to a pipeline's own, `scale` times."""

    lora: str = Field(min_length=1, description="a .safetensors file, or a repository's id")
    revision: Revision = None
    file: str | None = Field(None, description="the file in a repository or a folder")
    scale: float = Field(1.0, ge=-4, le=4)


class HubModel(Spec):
    """A model of diffusers or transformers: a local folder, or a repository at a full commit."""

    repo: str = Field(min_length=1, description="a local folder or a repository's id")
    revision: Revision = None


def _hub(value: object) -> object:
    return {"repo": value} if isinstance(value, str) else value


Hub = Annotated[HubModel, BeforeValidator(_hub)]

Channel = Annotated[int, Field(ge=0, le=255)]


class ControlNet(Spec):
    """A network that holds the layout while the look changes, and what it is shown of a sample.

    `segmentation`: the class-id map, or else the objects, in the colours of `palette` (by class
    name; those of PASCAL VOC for a class that is not in it). `canny`: the edges of the image.
    `depth`: what `depth_model`, a transformers depth estimator, makes of the image.
    """

    controlnet: str = Field(min_length=1, description="a local folder or a repository's id")
    revision: Revision = None
    shows: Literal["segmentation", "canny", "depth"]
    scale: float = Field(1.0, ge=0, le=4)
    palette: dict[str, tuple[Channel, Channel, Channel]] | None = None
    depth_model: Hub | None = None

    @model_validator(mode="after")
    def _fits_what_it_shows(self) -> ControlNet:
        if self.shows == "depth" and self.depth_model is None:
            raise ValueError("depth_model: is missing; shows: depth needs a depth estimator")
        if self.shows != "depth" and self.depth_model is not None:
            raise ValueError(f"depth_model: is for shows: depth, not for {self.shows}")
        if self.shows != "segmentation" and self.palette is not None:
            raise ValueError(f"palette: is for shows: segmentation, not for {self.shows}")
        return self


class Scheduler(Spec):
    """A scheduler of diffusers by its name, with settings that are not the pipeline's own."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9]*$")
    settings: dict[str, JsonValue] = Field(default_factory=dict)


def _named(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


class DiffusersModel(Spec):
    """A pipeline of diffusers: a local folder that `save_pretrained` wrote, or a repository's id
    with its full commit, which must be in the local cache (`noiseloom models fetch`).

    `variant` picks among weights (`fp16`). `precision`: bf16 where the device has it, unless said
    otherwise. `compile`: by torch.compile, for a few fixed shapes; left out, on long runs on a GPU.
    `offload`: parts that are not at work wait in the CPU's memory. `tile`: pixels a side of the
    overlapping tiles of a larger image; left out, what the pipeline was trained for.
    """

    diffusers: str = Field(min_length=1)
    revision: Revision = None
    variant: str | None = Field(None, pattern=r"^[A-Za-z0-9_-]{1,32}$")
    lora: Annotated[tuple[Lora, ...], BeforeValidator(_loras)] = ()
    controlnet: Annotated[tuple[ControlNet, ...], BeforeValidator(_listed)] = ()
    scheduler: Annotated[Scheduler | None, BeforeValidator(_named)] = None
    vae: Hub | None = None
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    compile: bool | None = None
    offload: bool = False
    tile: int | None = Field(None, ge=64, le=8192)


class SpandrelModel(Spec):
    """A network that spandrel knows by its weights: for super-resolution, or LaMa or MAT for
    inpainting. A .safetensors file.
    """

    spandrel: str = Field(min_length=1)
    tile: int | None = Field(None, ge=32, le=8192, description="pixels a side of the small image")


Score = Annotated[float, Field(ge=0, le=1)]
Deviation = Annotated[float, Field(gt=0)]
ClassNames = Annotated[dict[int, str], Field(min_length=1)]
"""What the numbers of a detector or a segmenter mean in the dataset's own class names."""


class _Looker(Spec):
    """What detectors and segmenters share.

    `classes`: the model's class numbers as the dataset's class names. Several numbers may have the
    same name; a number that is left out is something that the dataset does not know.
    `threshold`: from which score on a detection counts.
    """

    classes: ClassNames
    threshold: Score = 0.5

    @field_validator("classes")
    @classmethod
    def _legal_numbers(cls, classes: dict[int, str]) -> dict[int, str]:
        for number, name in classes.items():
            if number < 0 or not name:
                raise ValueError(f"{number}: {name!r} is no class")
        return classes


class OnnxModel(_Looker):
    """A detector or a segmenter as ONNX, which onnxruntime runs.

    Detectors give boxes, labels and scores as torchvision's export does, or rows of [x0, y0, x1,
    y1, score, class] or the raw [4 + classes, n] of the YOLO family; segmenters logits or class
    ids. `size`: [height, width] of its input, where the file leaves it open and the model needs
    one. `mean` and `deviation` are what it was trained with, of values from 0 to 1.
    """

    onnx: str = Field(min_length=1)
    size: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = None
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[Deviation, Deviation, Deviation] = (1.0, 1.0, 1.0)


class TorchvisionModel(_Looker):
    """A detector or a segmenter of torchvision by its name, with weights of your own.

    `settings` go to the builder (`min_size: 320`). `mean` and `deviation` are what it was trained
    with, of values from 0 to 1; left out, what torchvision trains it with.
    """

    torchvision: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    weights: str = Field(min_length=1, description="a .safetensors file")
    mean: tuple[float, float, float] | None = None
    deviation: tuple[Deviation, Deviation, Deviation] | None = None
    settings: dict[str, JsonValue] = Field(default_factory=dict)


_KINDS: Final = {
    "native": NativeModel,
    "diffusers": DiffusersModel,
    "spandrel": SpandrelModel,
    "onnx": OnnxModel,
    "torchvision": TorchvisionModel,
}
MODEL_KINDS: Final = tuple(_KINDS)


def _kind(value: Any) -> str | None:
    """The first key that names a kind; of a model that was made already, its own."""
    for kind, spec in _KINDS.items():
        if isinstance(value, spec) or (isinstance(value, dict) and kind in value):
            return TAG + kind
    return None


AnyModel = Annotated[
    Annotated[NativeModel, Tag(TAG + "native")]
    | Annotated[DiffusersModel, Tag(TAG + "diffusers")]
    | Annotated[SpandrelModel, Tag(TAG + "spandrel")]
    | Annotated[OnnxModel, Tag(TAG + "onnx")]
    | Annotated[TorchvisionModel, Tag(TAG + "torchvision")],
    Discriminator(_kind),
]
