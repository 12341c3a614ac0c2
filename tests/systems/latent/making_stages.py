"""Small folders of cascades: DeepFloyd-IF's stages and Stable Diffusion's upscaler, with random weights."""

import string

from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    IFImg2ImgPipeline,
    IFPipeline,
    IFSuperResolutionPipeline,
    StableDiffusionUpscalePipeline,
    UNet2DConditionModel,
)
from tests.systems.latent import making
from transformers import T5Config, T5EncoderModel, T5Tokenizer

SMALL, LARGE, SHORT = 8, 32, 8
"""Pixels of the first stage and of the second; steps of a chain of which all are run."""


def texts():
    """A tokenizer of letters, and T5's encoder."""
    letters = ["<pad>", "</s>", "<unk>", "\u2581", *string.ascii_lowercase]
    own = T5Tokenizer(vocab=[(letter, -float(i > 2)) for i, letter in enumerate(letters)], extra_ids=0)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    return own, T5EncoderModel(T5Config(vocab_size=len(own), decoder_start_token_id=0, **sizes))


def unet_of_pixels(size, in_channels=3, **options):
    """As IF's config.json has them: simple cross attention, pooled texts added to the time, learned variance."""
    return UNet2DConditionModel(
        sample_size=size, in_channels=in_channels, out_channels=6, layers_per_block=1, block_out_channels=(8, 16),
        norm_num_groups=4, down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"), cross_attention_dim=32, encoder_hid_dim=16,
        attention_head_dim=8, addition_embed_type="text", addition_embed_type_num_heads=2,
        cross_attention_norm="group_norm", resnet_time_scale_shift="scale_shift", act_fn="gelu", **options,
    )  # fmt: skip


def chain_of_pixels(steps=1000, **options):
    """Dynamic thresholding and learned variance."""
    told = {
        "beta_schedule": "squaredcos_cap_v2", "thresholding": True, "dynamic_thresholding_ratio": 0.95,
        "sample_max_value": 1.5, "variance_type": "learned_range",
    }  # fmt: skip
    return DDPMScheduler(steps, **{**told, **options})


def deepfloyd(made=IFPipeline, **parts):
    own, text = texts()
    told = {"unet": unet_of_pixels(SMALL), "scheduler": chain_of_pixels(), **parts}
    return made(own, text, safety_checker=None, feature_extractor=None, watermarker=None,
                requires_safety_checker=False, **told)  # fmt: skip


def deepfloyd_short():
    return deepfloyd(scheduler=chain_of_pixels(SHORT))


def deepfloyd_of_pictures():
    return deepfloyd(IFImg2ImgPipeline)


def deepfloyd_larger(**parts):
    own, text = texts()
    net = unet_of_pixels(
        LARGE,
        6,
        class_embed_type="timestep",
        mid_block_scale_factor=1.414,
        time_embedding_act_fn="gelu",
    )
    noising = DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    told = {"unet": net, "scheduler": chain_of_pixels(), "image_noising_scheduler": noising, **parts}
    return IFSuperResolutionPipeline(own, text, safety_checker=None, feature_extractor=None, watermarker=None,
                                     requires_safety_checker=False, **told)  # fmt: skip


def deepfloyd_larger_short():
    return deepfloyd_larger(scheduler=chain_of_pixels(SHORT))


def upscaler(**parts):
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3, latent_channels=4, norm_num_groups=4, sample_size=32,
        scaling_factor=0.08333,
    )  # fmt: skip
    scheduler = DDIMScheduler(
        beta_start=0.0001, beta_end=0.02, beta_schedule="scaled_linear", clip_sample=False, prediction_type="v_prediction",
        timestep_spacing="trailing",
    )  # fmt: skip
    net = making.unet(16, 7, num_class_embeds=1000)
    told = {
        "unet": net,
        "scheduler": scheduler,
        "low_res_scheduler": DDPMScheduler(beta_schedule="scaled_linear"),
    }
    return StableDiffusionUpscalePipeline(
        vae=vae, text_encoder=making.text_encoder(), tokenizer=making.tokenizer(), **{**told, **parts}
    )
