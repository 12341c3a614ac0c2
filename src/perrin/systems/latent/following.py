"""What a network follows, there before it draws: a picture that is given, or samples of a model before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from perrin.contracts import Codec
from perrin.errors import PerrinError
from perrin.mixing import keys_of
from perrin.sample.noise import Key
from perrin.samples import Samples
from perrin.systems.latent.before import settings_of
from perrin.systems.latent.given import Given, each

if TYPE_CHECKING:
    from perrin.systems.latent.codec import LatentCodec

Source = list[Given] | Samples


class Follows(Protocol):
    """How a network is told of what it follows, such as a small picture that it enlarges.

    `argument`: of `LatentCodec.outline`, that gives it as a picture. `lacking`: the error where neither that is given nor
    a model comes before.
    """

    @property
    def argument(self) -> str: ...
    @property
    def lacking(self) -> str: ...

    def asked(self, height: int | None, width: int | None) -> dict[str, Any]:
        """What the model before is asked for, of samples of `height` and `width` pixels."""
        ...

    def source(self, codec: LatentCodec, found: Source, height: int | None, width: int | None) -> Tensor:
        """What was given or drawn, [n, ...]."""
        ...

    def size(self, source: Tensor) -> tuple[int, int] | None:
        """(height, width) in pixels of samples that follow it, where nothing else is asked for; None: the model's own."""
        ...

    def told(
        self, source: Tensor, shape: tuple[int, int, int], keys: Sequence[Key], noise_level: int | None
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Entries of the condition, `negative/` ones too, and what provenance says of each sample.

        Args:
            keys: (seed, index) of each, for noise. noise_level: how much of it; None: the usual.
        """
        ...


@dataclass
class Followed:
    """What was there before n samples.

    Attributes:
        source: see `Follows.source`; None: the network follows nothing. about: for each sample, as `Outline.about`.
    """

    source: Tensor | None = None
    about: list[dict[str, Any]] = field(default_factory=list)


def followed(
    codec: LatentCodec,
    keys: Sequence[tuple[int, int]],
    given: Any,
    settings: Mapping[str, Any] | None,
    asked: Mapping[str, Any],
    height: int | None,
    width: int | None,
) -> Followed:
    """What is given, or else drawn first.

    Args:
        given: what `Follows.argument` was; settings: of the model before. asked: prompt, negative, label.

    Raises:
        PerrinError: neither is there, or both.
    """
    n, seeds, first = len(keys), [seed for seed, _ in keys], keys[0][1]
    follows, before = codec.follows, codec.before
    if settings is not None and (before is None or given is not None):
        raise PerrinError(
            "before says how a model that comes before is drawn from; "
            + (
                "none does: after(MODEL) puts one there"
                if before is None
                else "with a picture given, it is not"
            )
        )
    if follows is None:
        return Followed(about=[{}] * n)
    if given is not None:
        pictures = each(n, given, follows.argument)
        about = [{follows.argument: one.about} for one in pictures]
        return Followed(follows.source(codec, pictures, height, width), about)
    if before is None:
        raise PerrinError(follows.lacking)
    known = hears(before.model.codec)
    told = {name: value for name, value in asked.items() if value is not None and name in known}
    seed = seeds[0] if keys == keys_of(n, seeds[0], first) else seeds
    drawn = before.draw(n, seed, first, settings, **told, **follows.asked(height, width))
    said = [{**one, **one.get("wanted", {})} for one in drawn.provenance]
    about = [
        {name: one[name] for name in asked if name in one} | {"before": settings_of(drawn, i)}
        for i, one in enumerate(said)
    ]
    return Followed(follows.source(codec, drawn, height, width), about)


def hears(codec: Codec) -> set[str]:
    """What samples of a model are drawn by: prompt and negative, label, variation_of; of the models before it, too."""
    own = set[str]()
    if hasattr(codec, "hears"):
        own = set(codec.hears)
    elif getattr(codec, "text", None) is not None:
        own = {"prompt", "negative"}
    elif codec.classes:
        own = {"label"}
    follows: Follows | None = getattr(codec, "follows", None)
    if follows is not None and follows.argument == "variation_of":
        own |= {"variation_of"}
    before = getattr(codec, "before", None)
    return own if before is None else own | hears(before.model.codec)
