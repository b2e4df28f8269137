"""Our own models on disk: `config.json`, `model.safetensors` (fp16), and a model card; a latent
denoiser's autoencoder lies beside them, in `vae`.

A denoiser predicts v for a noised image, given a label map. An upscaler predicts what is missing
between a small image's bicubic enlargement and the image, in one step.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipeline.diffusion.label_map import channels
from pipeline.diffusion.latent import VAE_FOLDER, Latents, LatentSpace, load_latents
from pipeline.diffusion.network import NetConfig, PatchUNet
from pipeline.diffusion.tone import Curve
from pipeline.diffusion.upscaler import UpscalerNet, UpscalerNetConfig, tiled_residual
from pipeline.model import EnlargeJob, Made, PaintJob
from schemas.errors import ModelError
from schemas.models import NativeModel
from schemas.spec import Spec

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


class DenoiserConfig(Spec):
    """What a denoiser is: its network, its schedule, and the classes of its label map in order;
    with `latent`, it works on what the autoencoder in the folder `vae` makes of an image.
    """

    does: Literal["denoise"] = "denoise"
    net: NetConfig
    shift: float = Field(gt=0)
    curve: Curve
    classes: tuple[str, ...]
    seg_classes: tuple[str, ...]
    latent: LatentSpace | None = None

    @property
    def multiple(self) -> int:
        """Image sides must be multiples of this."""
        return self.net.multiple * (self.latent.factor if self.latent else 1)

    @property
    def image_channels(self) -> int:
        """Of what is noised and denoised."""
        return self.latent.channels if self.latent else 3

    @property
    def condition_channels(self) -> int:
        """Of the label map."""
        return channels(self.classes, self.seg_classes)


class UpscalerConfig(Spec):
    """What an upscaler is."""

    does: Literal["upscale"] = "upscale"
    net: UpscalerNetConfig


NativeConfig = Annotated[DenoiserConfig | UpscalerConfig, Field(discriminator="does")]
_CONFIG: TypeAdapter[DenoiserConfig | UpscalerConfig] = TypeAdapter(NativeConfig)


def read_config(folder: Path) -> DenoiserConfig | UpscalerConfig:
    """The configuration in a model folder. Raises ModelError with the file and the first thing
    wrong in it.
    """
    path = folder / CONFIG_FILE
    try:
        return _CONFIG.validate_python(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise ModelError(
            f"{path}: no such file; a native model is a folder made by `noiseloom train`"
        ) from None
    except (ValidationError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not a native model's configuration: {error}") from None


def build(config: DenoiserConfig) -> PatchUNet:
    """The network of this configuration, freshly initialised from torch's global generator."""
    return PatchUNet(config.net, config.image_channels, config.condition_channels, config.shift)


def save_native(
    folder: Path, config: DenoiserConfig | UpscalerConfig, weights: dict[str, Tensor]
) -> None:
    """Writes `config.json` and fp16 weights into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(json.dumps(config.model_dump(mode="json"), indent=1) + "\n")
    half = {
        name: tensor.detach().to("cpu", torch.float16).contiguous()
        for name, tensor in weights.items()
    }
    save_file(half, folder / WEIGHTS_FILE)
    (folder / WEIGHTS_FILE).chmod(0o644)  # safetensors leaves it to its owner alone


class NativeNet:
    """A loaded denoiser, ready to predict v. `digest` is that of its files."""

    def __init__(
        self,
        config: DenoiserConfig,
        net: PatchUNet,
        digest: str,
        device: str,
        latents: Latents | None = None,
    ) -> None:
        self.config = config
        self.digest = digest
        self.latents = latents
        self.device = torch.device(device)
        self._net = (
            net.to(self.device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
        )

    @torch.inference_mode()
    def predict(self, x_bchw: Tensor, t_b: Tensor, condition_bchw: Tensor) -> Tensor:
        """v, float32, of x's shape. bf16 arithmetic on a GPU, float32 on a CPU."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            v: Tensor = self._net(x_bchw, t_b, condition_bchw)
            return v.float()

    @property
    def usual_steps(self) -> int | None:
        """Each op knows how many it needs with a native model."""
        return None

    @property
    def usual_guidance(self) -> float | None:
        """Each op knows it for a native model."""
        return None

    @property
    def curve(self) -> Curve:
        """How brightness goes into it."""
        return self.config.curve

    def repaint(self, jobs: Sequence[PaintJob], steps: int, guidance: float) -> list[Made]:
        """Every job carried out, conditioned on its labels; prompts say nothing to it."""
        from pipeline.diffusion.repaint import repaint_samples  # its engine imports this module

        return repaint_samples(self, jobs, steps, guidance)


class NativeUpscaler:
    """A loaded upscaler. `digest` is that of its files."""

    def __init__(self, config: UpscalerConfig, net: UpscalerNet, digest: str, device: str) -> None:
        self.config = config
        self.digest = digest
        self.device = torch.device(device)
        self._net = (
            net.to(self.device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
        )

    @torch.inference_mode()
    def residual(self, small_bchw: Tensor, factor: int) -> Tensor:
        """What bicubic misses, float32 on the CPU, (b, 3, factor h, factor w)."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            return tiled_residual(self._net, small_bchw.to(self.device), factor).float().cpu()

    def upscale(
        self,
        jobs: Sequence[EnlargeJob],
        factor: int,
        steps: int | None = None,
        guidance: float | None = None,
    ) -> list[Made]:
        """Every image enlarged, in one step."""
        from pipeline.diffusion.enlarge import upscale  # it imports this module

        return upscale(self, [job.image_hwc for job in jobs], factor)


def load_native(spec: NativeModel, digest: str, device: str) -> NativeNet | NativeUpscaler:
    """Loads a model folder. Raises ModelError where the weights do not fit the configuration."""
    folder = Path(spec.native)
    config = read_config(folder)
    if isinstance(config, UpscalerConfig):
        upscaler = UpscalerNet(config.net)
        _load_weights(folder, upscaler)
        return NativeUpscaler(config, upscaler, digest, device)
    net = build(config)
    _load_weights(folder, net)
    latents = load_latents(folder / VAE_FOLDER, torch.device(device)) if config.latent else None
    return NativeNet(config, net, digest, device, latents)


def begin_from(net: nn.Module, config: DenoiserConfig | UpscalerConfig, folder: Path) -> None:
    """The weights of a model folder into a network of the same configuration; ModelError where it
    is another.
    """
    found = read_config(folder)
    if found != config:
        raise ModelError(f"{folder / CONFIG_FILE}: another configuration: {found}, wanted {config}")
    _load_weights(folder, net)


def _load_weights(folder: Path, net: nn.Module) -> None:
    try:
        weights = load_file(folder / WEIGHTS_FILE)
        net.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    except (SafetensorError, OSError, RuntimeError) as error:
        raise ModelError(
            f"{folder / WEIGHTS_FILE}: weights do not fit {CONFIG_FILE}: {error}"
        ) from None
