"""Small pretrained folders of the real architectures, with random weights, saved by diffusers and transformers."""

import string

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    PixArtAlphaPipeline,
    PixArtTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusion3Pipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    UNet2DModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)


def tokenizer():
    """CLIP's, of letters alone."""
    letters = string.ascii_lowercase + string.digits + ",.()"
    vocabulary = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: i for i, token in enumerate(vocabulary)}, merges=[], model_max_length=77
    )


def text_encoder(made=CLIPTextModel, width=16, projection=16):
    words = len(tokenizer())
    config = CLIPTextConfig(
        vocab_size=words, hidden_size=width, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2,
        projection_dim=projection, bos_token_id=words - 2, eos_token_id=words - 1, pad_token_id=words - 1,
    )  # fmt: skip
    return made(config)


def autoencoder(channels=4, **options):
    return AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels, norm_num_groups=4, sample_size=16, scaling_factor=0.3, **options,
    )  # fmt: skip


def unet(width=16, in_channels=4, **options):
    return UNet2DConditionModel(
        sample_size=8, in_channels=in_channels, out_channels=4, layers_per_block=1, block_out_channels=(8, 16),
        norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=width, attention_head_dim=4, **options,
    )  # fmt: skip


def chain(prediction="epsilon"):
    return DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
        prediction_type=prediction, timestep_spacing="trailing", set_alpha_to_one=True,
        rescale_betas_zero_snr=prediction == "v_prediction",
    )  # fmt: skip


def stable_diffusion(prediction="epsilon", made=StableDiffusionPipeline, **parts):
    parts = {"unet": unet(), "scheduler": chain(prediction), **parts}
    return made(
        vae=autoencoder(), text_encoder=text_encoder(), tokenizer=tokenizer(), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False, **parts,
    )  # fmt: skip


def stable_diffusion_v():
    return stable_diffusion("v_prediction")


def image_to_image():
    return stable_diffusion(made=StableDiffusionImg2ImgPipeline)


def inpainting():
    return stable_diffusion(made=StableDiffusionInpaintPipeline, unet=unet(in_channels=9))


def inpainting_of_any():
    return stable_diffusion(made=StableDiffusionInpaintPipeline)


XL = {
    "addition_embed_type": "text_time", "addition_time_embed_dim": 4, "use_linear_projection": True,
    "projection_class_embeddings_input_dim": 6 * 4 + 16, "transformer_layers_per_block": 1,
}  # fmt: skip


def control_net(of, **options):
    return ControlNetModel.from_unet(of, conditioning_channels=3, **options)


def controlled():
    own = unet()
    net = control_net(own, conditioning_embedding_out_channels=(8, 8))
    return stable_diffusion(made=StableDiffusionControlNetPipeline, unet=own, controlnet=net)


def controlled_xl():
    own = unet(32, **XL)
    net = control_net(own, conditioning_embedding_out_channels=(8, 8))
    return stable_diffusion_xl(StableDiffusionXLControlNetPipeline, unet=own, controlnet=net)


def stable_diffusion_xl(made=StableDiffusionXLPipeline, **parts):
    second = text_encoder(CLIPTextModelWithProjection)
    return made(
        vae=autoencoder(), text_encoder=text_encoder(), text_encoder_2=second, tokenizer=tokenizer(),
        tokenizer_2=tokenizer(), scheduler=chain(), add_watermarker=False, **{"unet": unet(32, **XL), **parts},
    )  # fmt: skip


def stable_diffusion_3(made=StableDiffusion3Pipeline):
    net = SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8,
        num_attention_heads=2, caption_projection_dim=16, joint_attention_dim=40, pooled_projection_dim=32,
        pos_embed_max_size=8,
    )  # fmt: skip
    one, two = text_encoder(CLIPTextModelWithProjection), text_encoder(CLIPTextModelWithProjection)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    return made(net, scheduler, autoencoder(shift_factor=0.1), one, tokenizer(), two, tokenizer(), None, None)


def image_to_image_xl():
    return stable_diffusion_xl(StableDiffusionXLImg2ImgPipeline)


def inpainting_xl():
    return stable_diffusion_xl(StableDiffusionXLInpaintPipeline, unet=unet(32, in_channels=9, **XL))


def image_to_image_3():
    return stable_diffusion_3(StableDiffusion3Img2ImgPipeline)


def dit():
    net = DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=2, sample_size=8,
        patch_size=2, num_embeds_ada_norm=1000,
    )  # fmt: skip
    scheduler = DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    return DiTPipeline(net, autoencoder(), scheduler, {i: f"class {i}" for i in range(1000)})


def pixart():
    letters = ["<pad>", "</s>", "<unk>", "\u2581", *string.ascii_lowercase]
    own = T5Tokenizer(vocab=[(letter, -float(i > 2)) for i, letter in enumerate(letters)], extra_ids=0)
    words = len(own)
    text = T5EncoderModel(
        T5Config(
            vocab_size=words, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, decoder_start_token_id=0
        )
    )
    net = PixArtTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=2, sample_size=8,
        patch_size=2, caption_channels=16, cross_attention_dim=16,
    )  # fmt: skip
    scheduler = DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    return PixArtAlphaPipeline(own, text, autoencoder(), net, scheduler)


def ddpm():
    net = UNet2DModel(
        sample_size=8, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
    )  # fmt: skip
    return DDPMPipeline(net, DDPMScheduler())


def seeded(make):
    """A pipeline whose weights are the same each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipeline = make()
        for name, part in pipeline.components.items():
            if not isinstance(part, torch.nn.Module):
                continue
            part.eval()
            for parameter in part.parameters() if name in ("unet", "transformer", "controlnet") else ():
                parameter.data.add_(0.05 * torch.randn(parameter.shape))  # some outputs begin as zeros
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
