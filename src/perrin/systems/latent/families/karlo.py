"""unCLIP in pixels, as in Karlo: a prior of embeddings, a decoder of small pictures, and two networks that enlarge these.

The decoder (GLIDE's, told of the embedding as well; Ramesh et al. 2022, section 2.1) sees a text's tokens behind a few that
are made of the embedding. The enlarged picture's last step, which starts at the least noise, has a network of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from perrin.denoise.prediction import Condition
from perrin.process.state import single
from perrin.systems.latent.codec import LatentCodec
from perrin.systems.latent.components import configuration, module, tokenizer
from perrin.systems.latent.enlarging import LOW, Enlarging
from perrin.systems.latent.families.assembled import Assembled, depth
from perrin.systems.latent.families.unclip import MaskedClip, before, image_encoder, prior
from perrin.systems.latent.layout import Layout
from perrin.systems.latent.noise_tables import trained
from perrin.systems.latent.noised_embeddings import OfEmbedding
from perrin.systems.latent.telling import told
from perrin.systems.latent.thresholded import threshold

LAST = 0.5
"""Times below this are the last step's of the chain that enlarges, which goes from time 0 to the clean picture."""


class Decoder(nn.Module):
    """A U-Net of pixels under a text and an embedding, which `projection` makes one; variances in its second half."""

    def __init__(self, net: Any, projection: Any) -> None:
        super().__init__()
        self.net, self.projection = net, projection

    def forward(self, x: Tensor, time: Tensor, condition: Condition = None) -> Tensor:
        """Its raw output [B, 6, H, W]."""
        own = told(condition, x)
        tokens, added = self.projection(
            image_embeddings=own["embedding"],
            prompt_embeds=own["pooled"],
            text_encoder_hidden_states=own["prompt"],
            do_classifier_free_guidance=False,
        )
        there = pad(own["tokens"], (tokens.shape[1] - own["tokens"].shape[1], 0), value=True)
        found: Tensor = self.net(
            x,
            time,
            encoder_hidden_states=tokens,
            class_labels=added,
            attention_mask=there,
            return_dict=False,
        )[0]
        return found


class Larger(nn.Module):
    """U-Nets that see a picture `low` [B, 3, H, W] to enlarge: one of the last step's times, one of those before."""

    def __init__(self, net: Any, last: Any) -> None:
        super().__init__()
        self.net, self.last = net, last

    def forward(self, x: Tensor, time: Tensor, condition: Condition = None) -> Tensor:
        """Its raw output [B, 3, H, W]."""
        both = torch.cat([x, told(condition, x)[LOW]], 1)
        ends = time < LAST
        found = torch.empty_like(x)
        for rows, net in ((ends, self.last), (~ends, self.net)):
            if bool(rows.any()):
                found[rows] = net(both[rows], time[rows], return_dict=False)[0]
        return found


def karlo(layout: Layout, dtype: torch.dtype) -> Assembled:
    """Pictures of texts, through a prior."""
    text = MaskedClip(tokenizer(layout, "tokenizer"), module(layout, "text_encoder", dtype))
    first = before(prior(layout, dtype, text), layout, "prior")
    return _larger(layout, dtype, _decoder(layout, dtype, text, OfEmbedding("embedding"), before=first))


def karlo_variations(layout: Layout, dtype: torch.dtype) -> Assembled:
    """Variations of a picture, without a prior."""
    text = MaskedClip(tokenizer(layout, "tokenizer"), module(layout, "text_encoder", dtype))
    encoder = image_encoder(layout, dtype)
    small = _decoder(layout, dtype, text, OfEmbedding("embedding", encoder), wordless=True)
    return _larger(layout, dtype, replace(small, modules=[*small.modules, *encoder.modules_of()]))


def _decoder(
    layout: Layout, dtype: torch.dtype, text: MaskedClip, follows: OfEmbedding, **options: Any
) -> Assembled:
    net, projection = module(layout, "decoder", dtype), module(layout, "text_proj", dtype)
    nothing = projection.learned_classifier_free_guidance_embeddings.detach().float().cpu()
    made = configuration(layout.of("decoder_scheduler"), "scheduler_config.json")
    follows = replace(follows, nothing=nothing)
    codec = _pixels(layout, net, made, text=text, follows=follows, **options)
    parts, variance = list(text.modules_of()), "published_range"
    return Assembled(Decoder(net, projection), trained(made), codec, 8.0, 25, parts, variance=variance)


def _larger(layout: Layout, dtype: torch.dtype, small: Assembled) -> Assembled:
    """The networks that enlarge, behind the one that draws small pictures."""
    net, last = module(layout, "super_res_first", dtype), module(layout, "super_res_last", dtype)
    made = configuration(layout.of("super_res_scheduler"), "scheduler_config.json")
    follows = Enlarging(None, scale=net.config.sample_size // single(small.codec.shape)[1])
    codec = _pixels(layout, net, made, follows=follows, before=before(small, layout, "decoder"))
    return Assembled(Larger(net, last), trained(made), codec, 1.0, 7, grid="logsnr")


def _pixels(layout: Layout, net: Any, scheduler: dict[str, Any], **options: Any) -> LatentCodec:
    side, steer = net.config.sample_size, threshold(scheduler)
    options |= {"multiple": depth(net), "name": layout.pipeline, "steer": steer}
    return LatentCodec((3, side, side), 1, None, 1.0, **options)
