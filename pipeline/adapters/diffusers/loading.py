"""A pipeline from disk, with everything that a recipe adds to it: safetensors only, nothing is
fetched, no code is run.

The pipeline is loaded once; what it needs for each job (image to image, inpainting) shares its
networks. Arithmetic is bf16 on a GPU that has it, fp16 on an older one, float32 on a CPU, unless
the recipe says otherwise. The VAE works on one image at a time, in tiles where that is large.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from pipeline.adapters.diffusers.control import Shown
from pipeline.adapters.diffusers.errors import WRONG, first_line, own_warnings_ignored
from pipeline.adapters.diffusers.families import denoiser_of, family_of
from pipeline.adapters.diffusers.hub import folder_of
from pipeline.adapters.diffusers.lora import add_loras
from pipeline.adapters.diffusers.schedules import scheduler_of
from pipeline.adapters.diffusers.shapes import Shapes, rounded
from pipeline.adapters.diffusers.text import Encodings
from pipeline.adapters.diffusers.tiles import Windows
from pipeline.adapters.diffusers.usual import Usual, usual_of
from schemas.errors import ModelError
from schemas.models import ControlNet, DiffusersModel

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

PRECISIONS: Final = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


@dataclass(frozen=True, eq=False)
class Control:
    """A ControlNet's picture, and how strongly it holds."""

    shown: Shown
    scale: float


@dataclass(frozen=True, eq=False)
class Loaded:
    """A pipeline, ready to be called."""

    img2img: DiffusionPipeline | None
    inpaint: DiffusionPipeline | None
    controls: tuple[Control, ...]
    windows: Windows
    encodings: Encodings
    shapes: Shapes
    latent: int
    """Pixels a side of a latent."""
    token: int
    """Pixels a side of what the denoiser sees as one place."""
    usual: Usual
    device: torch.device


def load(spec: DiffusersModel, device: str) -> Loaded:
    """Raises ModelError, in one line, where something does not fit."""
    hush()
    folder = folder_of(spec.diffusers, spec.revision)
    dtype = precision(spec, device)
    try:
        base = _base(spec, folder, dtype)
        add_loras(base, spec.lora)
        controlnets = [_controlnet(control, dtype) for control in spec.controlnet]
        img2img, inpaint = _painters(base, controlnets)
    except WRONG as error:
        raise ModelError(f"{folder}: not a pipeline that loads: {first_line(error)}") from error
    one = img2img or inpaint
    if one is None:
        what = " with a ControlNet" if controlnets else ""
        raise ModelError(f"{folder}: {type(base).__name__}{what} cannot paint")
    painters = [painter for painter in (img2img, inpaint) if painter is not None]
    encodings = Encodings(one)
    for painter in painters:
        painter.encode_prompt = encodings
        painter.set_progress_bar_config(disable=True)
    _place(spec, one, device)
    side = _native_side(base)
    multiple, token = _multiple(base), _token(base)
    windows = Windows(denoiser_of(one), getattr(one, "controlnet", None))
    shapes = Shapes(rounded(spec.tile or side, multiple), multiple)
    _by_parts(one.vae, max(max(shape) for shape in shapes.buckets))
    if spec.offload and device.startswith("cuda"):
        one.enable_model_cpu_offload(device=device)
    names = [Path(spec.diffusers).name, *(Path(one.file or one.lora).name for one in spec.lora)]
    return Loaded(
        img2img,
        inpaint,
        tuple(Control(Shown(control, device), control.scale) for control in spec.controlnet),
        windows,
        encodings,
        shapes,
        base.vae_scale_factor,
        token,
        usual_of(base, names),
        torch.device(device),
    )


def hush() -> None:
    """What diffusers and transformers say by the way is not for a run's log."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()


def precision(spec: DiffusersModel, device: str) -> torch.dtype:
    """What the networks compute in."""
    if spec.precision != "auto":
        return PRECISIONS[spec.precision]
    if not device.startswith("cuda"):
        return torch.float32
    fine = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if fine else torch.float16


def compiles(spec: DiffusersModel, device: str, long_run: bool) -> bool:
    """Whether the denoiser is compiled."""
    return (long_run and device.startswith("cuda")) if spec.compile is None else spec.compile


def _base(spec: DiffusersModel, folder: Path, dtype: torch.dtype) -> DiffusionPipeline:
    """The pipeline as it was saved, but for its VAE and its scheduler, and without a safety
    checker: the image that it blackens is refused as `black_output`, and what a dataset shows is
    known.
    """
    import diffusers

    parts: dict[str, Any] = {}
    index = json.loads((folder / "model_index.json").read_bytes())
    if "safety_checker" in index:
        parts |= {"safety_checker": None, "requires_safety_checker": False}
    if spec.vae is not None:
        path = folder_of(spec.vae.repo, spec.vae.revision)
        parts["vae"] = _network(path, "AutoencoderKL", dtype, None)
    pipeline = diffusers.DiffusionPipeline.from_pretrained(
        folder,
        dtype=dtype,
        use_safetensors=True,
        local_files_only=True,
        variant=spec.variant,
        **parts,
    )
    if spec.scheduler is not None:
        pipeline.scheduler = scheduler_of(spec.scheduler, pipeline.scheduler)
    return pipeline


def _controlnet(spec: ControlNet, dtype: torch.dtype) -> Any:
    return _network(folder_of(spec.controlnet, spec.revision), "ControlNetModel", dtype, None)


def _network(folder: Path, usual: str, dtype: torch.dtype, variant: str | None) -> Any:
    """A network of the class that its configuration names."""
    import diffusers

    config = json.loads((folder / "config.json").read_bytes())
    name = config.get("_class_name", usual)
    kind = getattr(diffusers, str(name), None)
    if kind is None or not issubclass(kind, diffusers.ModelMixin):
        raise ModelError(f"{folder}: is a {name}, which this diffusers does not have")
    with own_warnings_ignored():
        network = kind.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, local_files_only=True, variant=variant
        )
    return network


def _painters(
    base: DiffusionPipeline, controlnets: Sequence[nn.Module]
) -> tuple[DiffusionPipeline | None, DiffusionPipeline | None]:
    """The pipelines for image to image and for inpainting, with the base's networks."""
    from diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting

    family = family_of(type(base).__name__, bool(controlnets))
    extra: dict[str, Any] = {}
    if controlnets:
        extra["controlnet"] = controlnets[0] if len(controlnets) == 1 else list(controlnets)
    img2img = inpaint = None
    if family.img2img is not None and not _sees_mask(base):
        img2img = AutoPipelineForImage2Image.from_pipe(base, **extra)
    if family.inpaint is type(base):
        inpaint = base
    elif family.inpaint is not None:
        inpaint = AutoPipelineForInpainting.from_pipe(base, **extra)
    return img2img, inpaint


def _sees_mask(base: DiffusionPipeline) -> bool:
    """Whether a U-Net is shown a mask beside the latents: it only inpaints."""
    unet = getattr(base, "unet", None)
    return unet is not None and bool(unet.config.in_channels != base.vae.config.latent_channels)


def _place(spec: DiffusersModel, pipeline: DiffusionPipeline, device: str) -> None:
    """Onto the device, with channels last where the networks are made of 2D convolutions."""
    for name, part in pipeline.components.items():
        if not isinstance(part, nn.Module):
            continue
        part.eval().requires_grad_(False)
        if name in ("unet", "vae", "controlnet") and all(w.ndim < 5 for w in part.parameters()):
            part.to(memory_format=torch.channels_last)
    if not (spec.offload and device.startswith("cuda")):
        pipeline.to(device)


def _native_side(base: DiffusionPipeline) -> int:
    """Pixels a side of the images that it was trained on."""
    size = getattr(base, "default_sample_size", None) or denoiser_of(base).config.sample_size
    return int(size) * int(base.vae_scale_factor)


def _multiple(base: DiffusionPipeline) -> int:
    """What the sides of an image must be multiples of, so that every level of the network is."""
    levels = denoiser_of(base).config.get("block_out_channels")
    return int(base.vae_scale_factor) * (2 if levels is None else 2 ** (len(levels) - 1))


def _token(base: DiffusionPipeline) -> int:
    """Transformers that see packed latents see two by two of them."""
    forward = inspect.signature(denoiser_of(base).forward).parameters
    packed = "img_ids" in forward or "img_shapes" in forward
    return int(base.vae_scale_factor) * (2 if packed else 1)


def _by_parts(vae: Any, side: int) -> None:
    """One image at a time, in tiles where it is larger than a bucket; out in float32."""
    from diffusers import AutoencoderKL

    vae.enable_slicing()
    if isinstance(vae, AutoencoderKL):
        vae.enable_tiling()
        factor = 2 ** (len(vae.config.block_out_channels) - 1)
        vae.tile_sample_min_size, vae.tile_latent_min_size = side, side // factor
    elif "tile_sample_min_height" in inspect.signature(vae.enable_tiling).parameters:
        stride = side * 3 // 4
        vae.enable_tiling(side, side, stride, stride)
    else:
        vae.enable_tiling()
    decode = vae.decode

    def decoded(*given: object, **named: object) -> tuple[Tensor]:
        result = decode(*given, **named | {"return_dict": False})
        return (result[0].float(),)  # so that bf16 rounds no colour once more

    vae.decode = decoded
