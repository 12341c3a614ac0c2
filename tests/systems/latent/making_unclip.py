"""Small folders of unCLIP and of picture variations, with random weights, saved by diffusers and transformers."""

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    PriorTransformer,
    StableDiffusionImageVariationPipeline,
    StableUnCLIPImg2ImgPipeline,
    StableUnCLIPPipeline,
    UnCLIPImageVariationPipeline,
    UnCLIPPipeline,
    UnCLIPScheduler,
    UNet2DConditionModel,
    UNet2DModel,
)
from diffusers.pipelines.deprecated.unclip.text_proj import UnCLIPTextProjModel
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
from tests.systems.latent.making import autoencoder, chain, text_encoder, tokenizer, unet
from transformers import (
    CLIPImageProcessor,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

WIDTH = 12
"""Of embeddings."""
CHAIN = 6
"""Steps of the chains of pixels: learned variances are those of these steps, and their noise is not so pure that a network
which predicts it multiplies rounding by 1e4."""


def prior():
    net = PriorTransformer(
        num_attention_heads=2, attention_head_dim=6, num_layers=2, embedding_dim=WIDTH, num_embeddings=77,
        additional_embeddings=4,
    )  # fmt: skip
    for parameter in net.parameters():  # some begin as zeros
        parameter.data.add_(0.2 * torch.randn(parameter.shape))
    net.clip_std.data.abs_().add_(0.5)
    return net


def normalizer():
    made = StableUnCLIPImageNormalizer(WIDTH)
    made.mean.data.normal_()
    made.std.data.uniform_(0.5, 2.0)
    return made


def prior_chain(made=DDIMScheduler, bound=5.0, **options):
    return made(
        beta_schedule="squaredcos_cap_v2", prediction_type="sample", clip_sample=True, clip_sample_range=bound,
        timestep_spacing="trailing", **options,
    )  # fmt: skip


def vision():
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=16,
            patch_size=4, projection_dim=WIDTH,
        )
    )  # fmt: skip


def feature_extractor():
    return CLIPImageProcessor(size={"shortest_edge": 20}, crop_size={"height": 16, "width": 16})


def decoder():
    return {
        "image_normalizer": normalizer(),
        "image_noising_scheduler": DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        "tokenizer": tokenizer(),
        "text_encoder": text_encoder(),
        "unet": unet(class_embed_type="projection", projection_class_embeddings_input_dim=2 * WIDTH),
        "scheduler": chain("v_prediction"),
        "vae": autoencoder(),
    }


def stable_unclip(scheduler=prior_chain):
    return StableUnCLIPPipeline(
        prior_tokenizer=tokenizer(), prior_scheduler=scheduler(), prior=prior(),
        prior_text_encoder=text_encoder(CLIPTextModelWithProjection, width=WIDTH, projection=WIDTH), **decoder(),
    )  # fmt: skip


def stable_unclip_by_chance():
    """The prior's own chain, which draws noise, and whose bound is met."""
    return stable_unclip(lambda: prior_chain(DDPMScheduler, bound=1.0))


def stable_unclip_variations():
    return StableUnCLIPImg2ImgPipeline(
        feature_extractor=feature_extractor(), image_encoder=vision(), **decoder()
    )


def image_variations():
    return StableDiffusionImageVariationPipeline(
        vae=autoencoder(), image_encoder=vision(), unet=unet(WIDTH), scheduler=chain(), safety_checker=None,
        feature_extractor=feature_extractor(), requires_safety_checker=False,
    )  # fmt: skip


def of_pixels(channels, mid="UNetMidBlock2DSimpleCrossAttn", **options):
    return UNet2DConditionModel(
        sample_size=8, in_channels=3, out_channels=channels, layers_per_block=1, block_out_channels=(8, 16),
        norm_num_groups=4, down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"), mid_block_type=mid,
        resnet_time_scale_shift="scale_shift", cross_attention_dim=10, attention_head_dim=4, **options,
    )  # fmt: skip


def enlarging():
    return UNet2DModel(
        sample_size=16, in_channels=6, out_channels=3, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=("ResnetDownsampleBlock2D",) * 2, up_block_types=("ResnetUpsampleBlock2D",) * 2,
        resnet_time_scale_shift="scale_shift", add_attention=False,
    )  # fmt: skip


def pixel_decoder():
    projection = UnCLIPTextProjModel(clip_embeddings_dim=WIDTH, time_embed_dim=32, cross_attention_dim=10)
    projection.learned_classifier_free_guidance_embeddings.data.normal_()
    net = of_pixels(6, class_embed_type="identity")
    for part in (net, first := enlarging(), last := enlarging()):
        for parameter in part.parameters():
            parameter.data.add_(0.05 * torch.randn(parameter.shape))
    net.conv_out.weight.data[3:] *= 0.2  # learned variances within their range
    return {
        "decoder": net,
        "text_encoder": text_encoder(CLIPTextModelWithProjection, width=WIDTH, projection=WIDTH),
        "tokenizer": tokenizer(),
        "text_proj": projection,
        "super_res_first": first,
        "super_res_last": last,
        "decoder_scheduler": UnCLIPScheduler(num_train_timesteps=CHAIN, variance_type="learned_range"),
        "super_res_scheduler": UnCLIPScheduler(num_train_timesteps=CHAIN),
    }


def karlo():
    scheduler = UnCLIPScheduler(prediction_type="sample", clip_sample_range=5.0)
    return UnCLIPPipeline(prior=prior(), prior_scheduler=scheduler, **pixel_decoder())


def karlo_variations():
    return UnCLIPImageVariationPipeline(
        feature_extractor=feature_extractor(), image_encoder=vision(), **pixel_decoder()
    )
