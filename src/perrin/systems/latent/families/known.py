"""The pipelines that are known, by the class that wrote a folder, and how such models sample."""

from __future__ import annotations

from importlib import import_module

from perrin.design import Sampling
from perrin.registry import schedules, unknown
from perrin.systems.latent.families.assembled import Assembled, Family
from perrin.systems.latent.layout import Layout

FAMILIES = {
    "StableDiffusionPipeline": "under_texts:stable_diffusion",
    "StableDiffusionImg2ImgPipeline": "under_texts:stable_diffusion",
    "StableDiffusionInpaintPipeline": "under_texts:stable_diffusion",
    "StableDiffusionControlNetPipeline": "under_texts:stable_diffusion",
    "StableDiffusionControlNetImg2ImgPipeline": "under_texts:stable_diffusion",
    "StableDiffusionControlNetInpaintPipeline": "under_texts:stable_diffusion",
    "StableDiffusionXLPipeline": "under_texts:stable_diffusion_xl",
    "StableDiffusionXLImg2ImgPipeline": "under_texts:stable_diffusion_xl",
    "StableDiffusionXLInpaintPipeline": "under_texts:stable_diffusion_xl",
    "StableDiffusionXLControlNetPipeline": "under_texts:stable_diffusion_xl",
    "StableDiffusionXLControlNetImg2ImgPipeline": "under_texts:stable_diffusion_xl",
    "StableDiffusionXLControlNetInpaintPipeline": "under_texts:stable_diffusion_xl",
    "StableDiffusion3Pipeline": "flows:stable_diffusion_3",
    "StableDiffusion3Img2ImgPipeline": "flows:stable_diffusion_3",
    "StableDiffusion3InpaintPipeline": "flows:stable_diffusion_3",
    "FluxPipeline": "flux:flux",
    "FluxImg2ImgPipeline": "flux:flux",
    "FluxInpaintPipeline": "flux:flux",
    "DiTPipeline": "patches:dit",
    "PixArtAlphaPipeline": "patches:pixart",
    "PixArtSigmaPipeline": "patches:pixart",
    "StableUnCLIPPipeline": "unclip:stable_unclip",
    "StableUnCLIPImg2ImgPipeline": "unclip:stable_unclip_variations",
    "UnCLIPPipeline": "karlo:karlo",
    "UnCLIPImageVariationPipeline": "karlo:karlo_variations",
    "StableDiffusionImageVariationPipeline": "unclip:variations",
    "IFPipeline": "pixels:deepfloyd",
    "IFImg2ImgPipeline": "pixels:deepfloyd",
    "IFSuperResolutionPipeline": "pixels:deepfloyd_larger",
    "StableDiffusionUpscalePipeline": "pixels:upscaler",
    "DDPMPipeline": "plain:unconditional",
    "DDIMPipeline": "plain:unconditional",
    "PNDMPipeline": "plain:unconditional",
}
"""Pipeline -> the file of this package and the function in it that makes the parts of a model."""

WIDE = -10.0
"""A table that ends below this level (squared cosine, zero signal) has most of a Karras grid's steps in pure noise."""


def family(layout: Layout) -> Family:
    """The function that assembles a folder's model.

    Raises:
        PerrinError: a pipeline that is not known.
    """
    if layout.pipeline not in FAMILIES:
        raise unknown(f"pipeline of {layout.folder}", layout.pipeline, FAMILIES)
    file, _, name = FAMILIES[layout.pipeline].partition(":")
    made: Family = getattr(import_module(f"perrin.systems.latent.families.{file}"), name)
    return made


def sampling(parts: Assembled) -> Sampling:
    """How such a model samples unless told otherwise."""
    made = parts.trained
    if made.parameterisation == "flow_velocity":
        schedule = {"name": "flow", "shift": made.shift}
        return Sampling("ddim", parts.steps, "time", schedule, parts.guidance)
    wide = schedules.build(made.schedule).level_range[0] < WIDE
    grid = parts.grid or ("cosine" if wide else "karras")
    return Sampling("dpmpp_2m", parts.steps, grid, made.schedule, parts.guidance)
