"""Tiny pipelines of diffusers with random weights, saved as their makers save theirs: every family
with the same parts as the real one, in the smallest sizes that fit together.

An image has 8 pixels a latent (4 for Qwen-Image), and 64 pixels a side where the family says what
it was trained for. The tokenizers know bytes and nothing else.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from transformers.models.auto.tokenization_auto import AutoTokenizer  # noqa: F401  registers them

WIDTH: Final = 16
"""Of the text encoders."""

NATIVE: Final = 64
"""Pixels a side."""


def saved(folder: Path, make: Callable[[], Any], seed: int = 0) -> Path:
    """The folder, with what `make` makes from this seed of torch's."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        make().save_pretrained(folder)
    return folder


def stable_diffusion() -> Any:
    """SD 1.x: text to image, four channels."""
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline(**_sd_parts(unet()))


def stable_diffusion_inpaint() -> Any:
    """SD inpainting: nine channels."""
    from diffusers import StableDiffusionInpaintPipeline

    return StableDiffusionInpaintPipeline(**_sd_parts(unet(in_channels=9)))


def lcm() -> Any:
    """A latent consistency model: distilled with its guidance."""
    from diffusers import LatentConsistencyModelPipeline, LCMScheduler

    parts = _sd_parts(unet(time_cond_proj_dim=8))
    scheduler = LCMScheduler(beta_schedule="scaled_linear", clip_sample=False)
    return LatentConsistencyModelPipeline(**parts | {"scheduler": scheduler})


def sdxl() -> Any:
    """SDXL: two text encoders, sizes as a condition."""
    from diffusers import StableDiffusionXLPipeline

    return StableDiffusionXLPipeline(
        vae=vae(),
        unet=_xl_unet(2 * WIDTH, 6),
        scheduler=_euler(),
        text_encoder=clip(),
        text_encoder_2=clip(projected=True),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
    )


def sdxl_refiner() -> Any:
    """Its refiner: without the first text encoder, with a score of beauty."""
    from diffusers import StableDiffusionXLImg2ImgPipeline

    return StableDiffusionXLImg2ImgPipeline(
        vae=vae(),
        unet=_xl_unet(WIDTH, 5),
        scheduler=_euler(),
        text_encoder=None,
        text_encoder_2=clip(projected=True),
        tokenizer=None,
        tokenizer_2=clip_tokenizer(),
        requires_aesthetics_score=True,
    )


def sd3() -> Any:
    """SD3: a transformer of latents, three text encoders."""
    from diffusers import (
        FlowMatchEulerDiscreteScheduler,
        SD3Transformer2DModel,
        StableDiffusion3Pipeline,
    )

    transformer = SD3Transformer2DModel(
        sample_size=NATIVE // 8,
        patch_size=2,
        in_channels=16,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=2 * WIDTH,
        caption_projection_dim=16,
        pooled_projection_dim=2 * WIDTH,
        out_channels=16,
        pos_embed_max_size=32,
    )
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_shifted_vae(latent_channels=16),
        text_encoder=clip(projected=True),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip(projected=True),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5(),
        tokenizer_3=t5_tokenizer(),
    )


def flux(*, guidance_embeds: bool = True) -> Any:
    """Flux dev; without the embedding of the guidance schnell."""
    from diffusers import FluxPipeline

    return FluxPipeline(**_flux_parts(16, guidance_embeds))


def flux_fill() -> Any:
    """Flux Fill: sees the masked image and the mask beside the latents."""
    from diffusers import FluxFillPipeline

    return FluxFillPipeline(**_flux_parts(16 + 16 + 4 * 64, guidance_embeds=True))


def qwen_image() -> Any:
    """Qwen-Image: a language model as text encoder, a VAE of videos."""
    from diffusers import (
        AutoencoderKLQwenImage,
        FlowMatchEulerDiscreteScheduler,
        QwenImagePipeline,
        QwenImageTransformer2DModel,
    )

    transformer = QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        guidance_embeds=False,
        axes_dims_rope=(8, 4, 4),
    )
    vae_ = AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )
    return QwenImagePipeline(
        transformer=transformer,
        vae=vae_,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=True),
        text_encoder=_qwen(),
        tokenizer=qwen_tokenizer(),
    )


def controlnet() -> Any:
    """For SD's U-Net, random also where a fresh one is zero."""
    from diffusers import ControlNetModel

    net = ControlNetModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        in_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        conditioning_embedding_out_channels=(4, 4, 4, 4),
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
        norm_num_groups=2,
    )
    fresh = [*net.controlnet_down_blocks, net.controlnet_mid_block]
    for layer in [*fresh, net.controlnet_cond_embedding.conv_out]:
        torch.nn.init.normal_(layer.weight, std=0.5)
    return net


def flux_controlnet() -> Any:
    """For Flux's transformer."""
    from diffusers import FluxControlNetModel

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`FluxPosEmbed` is deprecated", FutureWarning)
        net = FluxControlNetModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=2 * WIDTH,
            pooled_projection_dim=WIDTH,
            axes_dims_rope=[4, 4, 8],
            guidance_embeds=True,
        )
    layers = [*net.controlnet_blocks, *net.controlnet_single_blocks, net.controlnet_x_embedder]
    for layer in layers:
        torch.nn.init.normal_(layer.weight, std=0.5)
    return net


def unet(**others: Any) -> Any:
    """A U-Net of two levels."""
    from diffusers import UNet2DConditionModel

    sizes: dict[str, Any] = {
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "sample_size": NATIVE // 8,
        "in_channels": 4,
        "out_channels": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": WIDTH,
        "attention_head_dim": 2,
        "norm_num_groups": 2,
    }
    return UNet2DConditionModel(**sizes | others)


def vae(**others: Any) -> Any:
    """An autoencoder of 8 pixels a latent."""
    from diffusers import AutoencoderKL

    sizes: dict[str, Any] = {
        "block_out_channels": (4, 4, 4, 4),
        "in_channels": 3,
        "out_channels": 3,
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "latent_channels": 4,
        "norm_num_groups": 2,
        "sample_size": NATIVE,
        "mid_block_add_attention": False,  # half a minute for 2000x1500 on a CPU
    }
    return AutoencoderKL(**sizes | others)


def clip(*, projected: bool = False) -> Any:
    """A text encoder of one layer."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    tokens = len(clip_tokenizer())
    config = CLIPTextConfig(
        bos_token_id=tokens - 2,
        eos_token_id=tokens - 1,
        pad_token_id=tokens - 1,
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_attention_heads=2,
        num_hidden_layers=1,
        projection_dim=WIDTH,
        vocab_size=tokens,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).eval()


def t5() -> Any:
    """A T5 encoder of one layer."""
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        d_model=2 * WIDTH,
        d_kv=8,
        d_ff=16,
        num_heads=2,
        num_layers=1,
        vocab_size=len(t5_tokenizer()),
    )
    return T5EncoderModel(config).eval()


def clip_tokenizer() -> Any:
    """Bytes, and bytes that end a word."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {token: i for i, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77)


def t5_tokenizer() -> Any:
    """Letters."""
    from transformers import T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(chr(code), -3.0) for code in range(33, 127)]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)


def qwen_tokenizer() -> Any:
    """Bytes."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2Tokenizer

    tokens = [*sorted(ByteLevel.alphabet()), "<|endoftext|>"]
    return Qwen2Tokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[])


def _sd_parts(unet_: Any) -> dict[str, Any]:
    from diffusers import PNDMScheduler

    scheduler = PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        steps_offset=1,
    )
    return {
        "vae": vae(),
        "text_encoder": clip(),
        "tokenizer": clip_tokenizer(),
        "unet": unet_,
        "scheduler": scheduler,
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


def _xl_unet(width: int, numbers: int) -> Any:
    return unet(
        cross_attention_dim=width,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=8 * numbers + WIDTH,
    )


def _euler() -> Any:
    from diffusers import EulerDiscreteScheduler

    return EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
    )


def _shifted_vae(latent_channels: int = 4) -> Any:
    return vae(
        latent_channels=latent_channels,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.06,
        scaling_factor=1.5,
    )


def _flux_parts(in_channels: int, guidance_embeds: bool) -> dict[str, Any]:
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel

    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=in_channels,
        out_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=2 * WIDTH,
        pooled_projection_dim=WIDTH,
        axes_dims_rope=[4, 4, 8],
        guidance_embeds=guidance_embeds,
    )
    return {
        "transformer": transformer,
        "scheduler": FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        "vae": _shifted_vae(),
        "text_encoder": clip(),
        "tokenizer": clip_tokenizer(),
        "text_encoder_2": t5(),
        "tokenizer_2": t5_tokenizer(),
    }


def _qwen() -> Any:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    tokens = len(qwen_tokenizer())
    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": WIDTH,
            "intermediate_size": WIDTH,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"},
            "rope_theta": 1000000.0,
            "vocab_size": tokens,
        },
        vision_config={
            "depth": 1,
            "hidden_size": WIDTH,
            "intermediate_size": WIDTH,
            "num_heads": 2,
            "out_hidden_size": WIDTH,
        },
        vocab_size=tokens,
    )
    return Qwen2_5_VLForConditionalGeneration(config).eval()
