"""Which pipelines of diffusers can paint or enlarge, and how each wants to be spoken to.

By diffusers' own tables of what belongs together (`AutoPipelineFor...`) and by the signatures of
the classes, not by a list of models: a family that comes with the next diffusers and keeps to them
works as those that are here.

A pipeline can paint where it takes an image and a strength, has a VAE and a denoiser, and encodes
prompts from text alone. One of pixels (IF), of several stages (Kandinsky) or that edits by an
instruction without a strength (Kontext, Qwen-Image-Edit) cannot.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from pipeline.model import Job

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

UPSCALERS: Final = frozenset(
    {"StableDiffusionUpscalePipeline", "StableDiffusionLatentUpscalePipeline"}
)


@dataclass(frozen=True)
class Family:
    """The classes that share a pipeline's weights; None where there is none for a job."""

    img2img: type[DiffusionPipeline] | None
    inpaint: type[DiffusionPipeline] | None


def jobs_of(pipeline: str, shows: Sequence[str] = ()) -> frozenset[Job]:
    """What a pipeline of this class can do, with ControlNets that are shown these things; empty
    where it is of no use here. Loads no weights.
    """
    if pipeline in UPSCALERS:
        return frozenset() if shows else frozenset({"upscale"})
    family = family_of(pipeline, bool(shows))
    jobs: set[Job] = set()
    if family.img2img is not None:
        jobs.add("denoise")
    if family.inpaint is not None:
        jobs |= {"denoise", "inpaint", "redraw"}
    if jobs and "segmentation" in shows:
        jobs.add("synthesize")
    return frozenset(jobs)


@cache
def family_of(pipeline: str, controlled: bool) -> Family:
    """The classes for a pipeline of this class, with or without ControlNets."""
    from diffusers.pipelines.auto_pipeline import (
        AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
        AUTO_INPAINT_PIPELINES_MAPPING,
    )

    key = _key_of(pipeline)
    if key is not None and controlled:
        key = f"{key.removesuffix('-controlnet')}-controlnet"
    img2img = AUTO_IMAGE2IMAGE_PIPELINES_MAPPING.get(key)
    inpaint = AUTO_INPAINT_PIPELINES_MAPPING.get(key)
    if key is None and not controlled:
        inpaint = _class_of(pipeline)
    return Family(
        img2img if paints(img2img, controlled) else None,
        inpaint if paints(inpaint, controlled) and takes(inpaint, "mask_image") else None,
    )


def _key_of(pipeline: str) -> str | None:
    """The name that diffusers' tables have for a class and its sisters."""
    from diffusers.pipelines import auto_pipeline

    tables: Iterator[Mapping[str, type]] = iter(
        (
            auto_pipeline.AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
            auto_pipeline.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
            auto_pipeline.AUTO_INPAINT_PIPELINES_MAPPING,
        )
    )
    found = (key for table in tables for key, one in table.items() if one.__name__ == pipeline)
    return next(found, None)


def _class_of(pipeline: str) -> type[DiffusionPipeline] | None:
    import diffusers

    found = getattr(diffusers, pipeline, None)
    right = inspect.isclass(found) and issubclass(found, diffusers.DiffusionPipeline)
    return found if right else None


def paints(pipeline: type[DiffusionPipeline] | None, controlled: bool) -> bool:
    """Whether a class is one that the painter can use."""
    if pipeline is None or not takes(pipeline, "image", "strength", "generator"):
        return False
    parts = inspect.signature(pipeline.__init__).parameters
    encode = getattr(pipeline, "encode_prompt", None)
    words = {} if encode is None else inspect.signature(encode).parameters
    return (
        takes(pipeline, "control_image") == controlled
        and "vae" in parts
        and ("unet" in parts or "transformer" in parts)
        and "num_images_per_prompt" in words  # else lists of tensors: Z-Image
        and "image" not in words
    )


def takes(pipeline: type[DiffusionPipeline] | None, *names: str) -> bool:
    """Whether a pipeline can be called with all of these."""
    return pipeline is not None and all(name in parameters_of(pipeline) for name in names)


def parameters_of(pipeline: type[DiffusionPipeline]) -> Mapping[str, inspect.Parameter]:
    """What a pipeline can be called with."""
    return inspect.signature(pipeline.__call__).parameters


def guided(
    pipeline: DiffusionPipeline, guidance: float, negative_prompts: Sequence[str]
) -> dict[str, Any]:
    """The arguments that say how strongly the text is followed.

    A network that learnt the guidance as a number (Flux dev) is given it, and has no use for a
    negative prompt; one that is asked twice a step, with and without the text, is not asked the
    second time at a guidance of 1 or less.
    """
    kind = type(pipeline)
    denoiser = denoiser_of(pipeline)
    if denoiser.config.get("guidance_embeds"):
        return {"guidance_scale": guidance}
    if takes(kind, "true_cfg_scale"):
        never_empty = [text or " " for text in negative_prompts]
        return {"true_cfg_scale": guidance} | (
            {"negative_prompt": never_empty} if guidance > 1 else {}
        )
    if takes(kind, "negative_prompt"):
        return {"guidance_scale": guidance, "negative_prompt": list(negative_prompts)}
    return {"guidance_scale": guidance}


def misfit(denoiser: Mapping[str, Any], controlnet: Mapping[str, Any]) -> str | None:
    """Why a ControlNet of this configuration cannot serve a denoiser of that one, if it cannot."""
    for name in ("cross_attention_dim", "joint_attention_dim"):
        ours, theirs = denoiser.get(name), controlnet.get(name)
        if ours != theirs:
            return f"its {name} is {theirs}, the pipeline's {ours}: it is for another family"
    return None


def denoiser_of(pipeline: DiffusionPipeline) -> Any:
    """The network that is asked at every step."""
    unet = getattr(pipeline, "unet", None)
    return pipeline.transformer if unet is None else unet
