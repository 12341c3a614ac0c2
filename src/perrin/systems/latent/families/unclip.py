"""unCLIP (Ramesh et al. 2022): a prior draws the embedding of a picture from a text, a decoder the picture from both.

    e ~ p(e | text),    picture ~ p(x | e, text)

Stable unCLIP's decoder is a Stable Diffusion 2 that is told a noised embedding; folders with an image encoder in the place
of the prior draw variations of a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from perrin.denoise.prediction import Condition
from perrin.systems.latent.before import Before
from perrin.systems.latent.components import configuration, module, tokenizer
from perrin.systems.latent.families.assembled import Assembled, depth, latents, schedule
from perrin.systems.latent.families.unet_of_text import OfText
from perrin.systems.latent.layout import Layout
from perrin.systems.latent.noise_tables import trained
from perrin.systems.latent.noised_embeddings import Noising, OfEmbedding
from perrin.systems.latent.opening import made_of
from perrin.systems.latent.seeing import ImageEncoder
from perrin.systems.latent.telling import told
from perrin.systems.latent.text import Clip
from perrin.systems.latent.thresholded import threshold
from perrin.systems.latent.vectors import Embeddings


class Prior(nn.Module):
    """PriorTransformer: embeddings of pictures under texts."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, time: Tensor, condition: Condition = None) -> Tensor:
        """Its raw output [B, width]."""
        own = told(condition, x)
        found: Tensor = self.net(
            x,
            timestep=time,
            proj_embedding=own["pooled"],
            encoder_hidden_states=own["prompt"],
            attention_mask=own["tokens"],
            return_dict=False,
        )[0]
        return found


class MaskedClip(Clip):
    """CLIP's text encoder, cut after 75 tokens, and where there are tokens."""

    def __init__(self, tokenizer: Any, encoder: Any) -> None:
        super().__init__(tokenizer, encoder, cut=True)

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """`prompt` [n, 77, width], `pooled` [n, projection], `tokens` bool [n, 77]: those to the end of the text."""
        made = super().__call__(texts)
        device = made["prompt"].device
        ends = [self._parts(text)[0][0].index(self.tokenizer.eos_token_id) for text in texts]
        places = torch.arange(made["prompt"].shape[1], device=device)
        return made | {"tokens": places <= torch.tensor(ends, device=device)[:, None]}


def stable_unclip(layout: Layout, dtype: torch.dtype) -> Assembled:
    """Stable unCLIP: a prior before a decoder of latents."""
    text = MaskedClip(tokenizer(layout, "prior_tokenizer"), module(layout, "prior_text_encoder", dtype))
    first = before(prior(layout, dtype, text), layout, "prior")
    return _decoder(layout, dtype, OfEmbedding("embedding", noising=noising(layout)), before=first)


def stable_unclip_variations(layout: Layout, dtype: torch.dtype) -> Assembled:
    """Stable unCLIP's decoder behind an image encoder: variations of a picture, with or without a prompt."""
    encoder = image_encoder(layout, dtype)
    follows = OfEmbedding("embedding", encoder, noising(layout))
    found = _decoder(layout, dtype, follows, wordless=True)
    return replace(found, modules=[*found.modules, *encoder.modules_of()])


def variations(layout: Layout, dtype: torch.dtype) -> Assembled:
    """Stable Diffusion that attends to the embedding of a picture in a text's place."""
    unet, encoder = module(layout, "unet", dtype), image_encoder(layout, dtype)
    codec = latents(layout, dtype, unet.config, multiple=depth(unet), follows=OfEmbedding("prompt", encoder))
    parts = [codec.vae, *encoder.modules_of()]
    return Assembled(OfText(unet), schedule(layout), codec, 7.5, 25, parts)


def prior(layout: Layout, dtype: torch.dtype, text: Clip) -> Assembled:
    """The prior of a folder, with the text encoder as its further modules."""
    net: Any = module(layout, "prior", dtype)
    made = configuration(layout.of("prior_scheduler"), "scheduler_config.json")
    steer = threshold({"clip_sample": False, **made})  # embeddings have no range of their own
    mean, std = (value.detach().float().flatten().tolist() for value in (net.clip_mean, net.clip_std))
    codec = Embeddings((len(mean),), None, 1.0, mean, std, "float32", text=text, steer=steer)
    return Assembled(Prior(net), trained(made), codec, 4.0, 25, list(text.modules_of()))


def noising(layout: Layout) -> Noising:
    """How a folder's embeddings are noised."""
    normalizer: Any = module(layout, "image_normalizer", torch.float32)
    mean, std = (value.detach().flatten() for value in (normalizer.mean, normalizer.std))
    made = trained(configuration(layout.of("image_noising_scheduler"), "scheduler_config.json"))
    return Noising(mean, std, made.schedule["alphas_cumprod"])


def image_encoder(layout: Layout, dtype: torch.dtype) -> ImageEncoder:
    """The image encoder of a folder with its preprocessing."""
    preprocessing = configuration(layout.of("feature_extractor"), "preprocessor_config.json")
    return ImageEncoder(module(layout, "image_encoder", dtype), preprocessing)


def before(parts: Assembled, layout: Layout, name: str) -> Before:
    """A model of a folder that comes before another one there; `name`: what it is in it."""
    about = {"name": name, "pipeline": layout.pipeline}
    return Before(made_of(parts, layout.folder / name, about), name)


def _decoder(layout: Layout, dtype: torch.dtype, follows: OfEmbedding, **options: Any) -> Assembled:
    """Stable unCLIP's decoder; `options`: of its `LatentCodec`."""
    unet = module(layout, "unet", dtype)
    text = Clip(tokenizer(layout, "tokenizer"), module(layout, "text_encoder", dtype))
    codec = latents(layout, dtype, unet.config, text=text, multiple=depth(unet), follows=follows, **options)
    return Assembled(OfText(unet), schedule(layout), codec, 10.0, 20, [codec.vae, *text.modules_of()])
