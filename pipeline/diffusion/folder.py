"""A model of ours on disk: `config.json` and `model.safetensors` (fp16); a latent denoiser's
autoencoder lies beside them, in `vae`.

Importing it imports no torch: what the files are called, a dry run asks, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel

from schemas.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn

CONFIG_FILE: Final = "config.json"
WEIGHTS_FILE: Final = "model.safetensors"
VAE_FOLDER: Final = "vae"
VAE_FILES: Final = ("config.json", "diffusion_pytorch_model.safetensors")
"""Of a latent denoiser's autoencoder."""


def write_model(folder: Path, config: BaseModel, weights: Mapping[str, Tensor]) -> None:
    """Writes configuration and weights, numbers of any precision as fp16, into a folder."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(json.dumps(config.model_dump(mode="json"), indent=1) + "\n")
    half = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).detach().cpu().contiguous()
        for name, tensor in weights.items()
    }
    save_file(half, folder / WEIGHTS_FILE)
    (folder / WEIGHTS_FILE).chmod(0o644)  # safetensors leaves it to its owner alone


def load_weights(folder: Path, net: nn.Module) -> None:
    """The weights in a folder into a network, as float32. ModelError where they do not fit it."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(folder / WEIGHTS_FILE)
        net.load_state_dict(
            {name: t.float() if t.is_floating_point() else t for name, t in weights.items()}
        )
    except (SafetensorError, OSError, RuntimeError) as error:
        raise ModelError(
            f"{folder / WEIGHTS_FILE}: weights do not fit {CONFIG_FILE}: {error}"
        ) from None
