"""Small FLUX and SD3 folders, SDXL's refiner, and pipelines with two ControlNets, with random weights."""

import string

import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    FluxImg2ImgPipeline,
    FluxInpaintPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3InpaintPipeline,
    StableDiffusion3Pipeline,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionXLControlNetImg2ImgPipeline,
    StableDiffusionXLControlNetInpaintPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLImg2ImgPipeline,
)
from tests.systems.latent import making
from transformers import CLIPTextModelWithProjection, T5Config, T5EncoderModel, T5Tokenizer

DYNAMIC = {"base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 8, "max_image_seq_len": 48}
"""Sequences as short as those of the tests lie between the two."""


def t5(width=16):
    """T5's tokenizer, of letters alone, and its encoder."""
    letters = ["<pad>", "</s>", "<unk>", "\u2581", *string.ascii_lowercase]
    own = T5Tokenizer(vocab=[(letter, -float(i > 2)) for i, letter in enumerate(letters)], extra_ids=0)
    config = T5Config(
        vocab_size=len(own), d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=2, decoder_start_token_id=0
    )  # fmt: skip
    return own, T5EncoderModel(config)


def flux(made=FluxPipeline, scaled=True, dynamic=True):
    net = FluxTransformer2DModel(
        in_channels=64, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=16, pooled_projection_dim=16, guidance_embeds=scaled, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=dynamic, **(DYNAMIC if dynamic else {}))
    tokenizer, text = t5()
    vae = making.autoencoder(16, shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False)
    return made(scheduler, vae, making.text_encoder(), making.tokenizer(), text, tokenizer, net)


def flux_schnell():
    return flux(scaled=False, dynamic=False)


def flux_image_to_image():
    return flux(FluxImg2ImgPipeline)


def flux_inpainting():
    return flux(FluxInpaintPipeline)


def stable_diffusion_3_t5(made=StableDiffusion3Pipeline, dynamic=False, channels=4, shift=0.1):
    net = SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=channels, out_channels=channels, num_layers=2, attention_head_dim=8,
        num_attention_heads=2, caption_projection_dim=16, joint_attention_dim=40, pooled_projection_dim=32,
        pos_embed_max_size=16,
    )  # fmt: skip
    one, two = (making.text_encoder(CLIPTextModelWithProjection) for _ in range(2))
    options = {"use_dynamic_shifting": True, **DYNAMIC} if dynamic else {"shift": 3.0}
    tokenizer, text = t5(40)
    vae, scheduler = (
        making.autoencoder(channels, shift_factor=shift),
        FlowMatchEulerDiscreteScheduler(**options),
    )
    words = making.tokenizer()
    return made(net, scheduler, vae, one, words, two, making.tokenizer(), text, tokenizer)


def stable_diffusion_3_dynamic():
    return stable_diffusion_3_t5(dynamic=True)


def inpainting_3():
    """Without the shift of latents, which this pipeline leaves out when it decodes."""
    return stable_diffusion_3_t5(StableDiffusion3InpaintPipeline, channels=16, shift=0.0)


def refiner():
    told = {**making.XL, "projection_class_embeddings_input_dim": 5 * 4 + 16}
    return StableDiffusionXLImg2ImgPipeline(
        vae=making.autoencoder(), text_encoder=None, tokenizer=None, tokenizer_2=making.tokenizer(),
        text_encoder_2=making.text_encoder(CLIPTextModelWithProjection), unet=making.unet(16, **told),
        scheduler=making.chain(), requires_aesthetics_score=True, force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )  # fmt: skip


def two_control_nets(of):
    """That see much in their pictures; those that diffusers begins with see nothing."""
    nets = [making.control_net(of, conditioning_embedding_out_channels=(8, 8)) for _ in range(2)]
    for net in nets:
        torch.nn.init.normal_(net.controlnet_cond_embedding.conv_out.weight, std=2.0)
    return nets


def controlled_twice():
    own = making.unet()
    return making.stable_diffusion(
        made=StableDiffusionControlNetPipeline, unet=own, controlnet=two_control_nets(own)
    )


def controlled_image_to_image():
    own = making.unet()
    made = StableDiffusionControlNetImg2ImgPipeline
    return making.stable_diffusion(made=made, unet=own, controlnet=two_control_nets(own)[0])


def controlled_inpainting():
    own = making.unet()
    made = StableDiffusionControlNetInpaintPipeline
    return making.stable_diffusion(made=made, unet=own, controlnet=two_control_nets(own)[0])


def controlled_image_to_image_xl():
    own = making.unet(32, **making.XL)
    made = StableDiffusionXLControlNetImg2ImgPipeline
    return making.stable_diffusion_xl(made, unet=own, controlnet=two_control_nets(own)[0])


def controlled_inpainting_xl():
    own = making.unet(32, in_channels=9, **making.XL)
    nets = two_control_nets(making.unet(32, **making.XL))
    return making.stable_diffusion_xl(
        StableDiffusionXLControlNetInpaintPipeline, unet=own, controlnet=nets[0]
    )


def controlled_twice_xl():
    own = making.unet(32, **making.XL)
    return making.stable_diffusion_xl(
        StableDiffusionXLControlNetPipeline, unet=own, controlnet=two_control_nets(own)
    )
