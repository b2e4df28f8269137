"""Our own models, loaded: what they predict, and the jobs that they do for ops and gates.

A denoiser predicts v for a noised image, given a label map. An upscaler predicts what is missing
between a small image's bicubic enlargement and the image, in one step.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.diffusion.config import DenoiserConfig, UpscalerConfig, read_config
from pipeline.diffusion.enlarge import upscale
from pipeline.diffusion.fit import misfits
from pipeline.diffusion.folder import CONFIG_FILE, VAE_FOLDER, load_weights
from pipeline.diffusion.latent import Latents, load_latents
from pipeline.diffusion.network import PatchUNet
from pipeline.diffusion.repaint import repaint_samples
from pipeline.diffusion.tone import Curve
from pipeline.diffusion.upscaler import UpscalerNet, tiled_residual
from pipeline.model import EnlargeJob, FitJob, Made, Misfits, PaintJob
from schemas.errors import ModelError, SampleError
from schemas.models import NativeModel


def build(config: DenoiserConfig) -> PatchUNet:
    """The network of this configuration, freshly initialised from torch's global generator."""
    return PatchUNet(config.net, config.image_channels, config.condition_channels, config.shift)


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
        return repaint_samples(self, jobs, steps, guidance)

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the objects in its label map."""
        return self.config.classes

    @property
    def seg_classes(self) -> tuple[str, ...]:
        """Of the pixels in its label map, by id."""
        return self.config.seg_classes

    def misfits(self, jobs: Sequence[FitJob]) -> list[Misfits | SampleError]:
        """How well each image goes with what it could show, by the error of the network."""
        return misfits(self, jobs)


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
        return upscale(self, [job.image_hwc for job in jobs], factor)


def load_native(spec: NativeModel, digest: str, device: str) -> NativeNet | NativeUpscaler:
    """Loads a model folder. Raises ModelError where the weights do not fit the configuration."""
    folder = Path(spec.native)
    config = read_config(folder)
    if isinstance(config, UpscalerConfig):
        upscaler = UpscalerNet(config.net)
        load_weights(folder, upscaler)
        return NativeUpscaler(config, upscaler, digest, device)
    net = build(config)
    load_weights(folder, net)
    latents = load_latents(folder / VAE_FOLDER, torch.device(device)) if config.latent else None
    return NativeNet(config, net, digest, device, latents)


def begin_from(net: nn.Module, config: DenoiserConfig | UpscalerConfig, folder: Path) -> None:
    """The weights of a model folder into a network of the same configuration; ModelError where it
    is another.
    """
    found = read_config(folder)
    if found != config:
        raise ModelError(f"{folder / CONFIG_FILE}: another configuration: {found}, wanted {config}")
    load_weights(folder, net)
