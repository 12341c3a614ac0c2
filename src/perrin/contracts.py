"""What a kind of data promises to the rooms above it: files <-> states.

A kind is `open(path) -> Dataset` (files to raw items, by index) and a `Codec` (raw items to states and back).
Training, sampling, evaluation and serving know these promises alone; any class that keeps them works.
Nothing is imported here but types, so that naming a kind costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self, TypedDict, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from torch import Tensor, nn

    from perrin.process.state import Masks, Shape, State

    Array = np.ndarray[Any, np.dtype[Any]]


class Item(TypedDict):
    """One raw item: `value` as the user has it (an array, or a text), its class (None: no label), and its name."""

    value: Any
    label: int | None
    name: str


class Batch(NamedTuple):
    """States `[B, *shape]` and their condition: None, or tensors with the leading dimension B.

    States are float32, or of tokens int64, where -1 says that an item has no position there; or leaf -> such a tensor.

    Reserved keys of the condition: `label` int64 [B] (-1: none), `concat` float [B, C, *spatial], `vector`
    float [B, K] (NaN: none). Bools are facts, such as which entries are given, and are never dropped.

    `masks`: which entries items have, which are given, and which are learned; None: all are there and learned.
    """

    state: Any  # Tensor | dict[str, Tensor]: every kind knows which
    condition: dict[str, Tensor] | None
    masks: Masks | None = None


@dataclass(frozen=True)
class Lattice:
    """Integer data as states: the values `low + k step`, k = 0 .. count - 1, of every entry.

    Tensors float64 (`count` an integer or int64), each of a shape that broadcasts to a state's.
    """

    low: Tensor
    step: Tensor
    count: Tensor | int


class Dataset(Protocol):
    """Random access to raw items; may be larger than memory; safe to read from several threads.

    `classes`: names, index = label; None without labels. `description`: JSON-able facts (path, count, licence
    where known, `sha256` of the content). `skipped`: names of the broken items that were left out on request.
    """

    @property
    def classes(self) -> list[str] | None: ...
    @property
    def description(self) -> dict[str, Any]: ...
    @property
    def skipped(self) -> list[str]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Item: ...

    def split(self, held_out: float | int, seed: int) -> tuple[Dataset, Dataset]:
        """(training, held out): a share or a number of items, stratified by label where there are labels."""
        ...


class Codec(Protocol):
    """Raw items <-> states of one shape; a pure function of its `config()`.

    `kind`: its name in the registry. `shape`: of a state, without the batch. `classes`: as in the dataset.
    `sigma_data`: standard deviation of the states' elements about their common mean, measured by `fit`.
    `categories`: of states of tokens, how many there are.
    """

    kind: ClassVar[str]

    @property
    def shape(self) -> Shape: ...
    @property
    def classes(self) -> list[str] | None: ...
    @property
    def sigma_data(self) -> float: ...
    @property
    def lattice(self) -> Lattice | None:
        """The states that whole numbers have; None for continuous data."""
        ...

    @property
    def categories(self) -> int | Mapping[str, int] | None:
        """K, where states are tokens 0 .. K - 1, by leaf where there are several; None where they are continuous."""
        ...

    @property
    def augments(self) -> bool:
        """Whether seeds change what `encode` gives."""
        ...

    @classmethod
    def fit(cls, dataset: Dataset, *args: Any, **options: Any) -> Self:
        """Choose size and scaling from the data and the options (annotated keywords, JSON-able)."""
        ...

    def encode(self, items: Sequence[Item], seeds: Sequence[int] | None = None) -> Batch:
        """Items to a batch. Augmentation is a function of an item's seed alone; without seeds, none."""
        ...

    def decode(self, state: Any) -> list[Any]:
        """States `[B, *shape]` to values in the user's format; a state with NaN is refused."""
        ...

    def save(self, decoded: Sequence[Any], path: Path, provenance: Sequence[dict[str, Any]]) -> list[Path]:
        """Write the values, one provenance each, and return the files; each carries how it was made."""
        ...

    def picture(self, decoded: Sequence[Any], columns: int | None = None) -> Image | None:
        """One picture of all the values for people to look at; None where the kind has none."""
        ...

    def save_trajectory(
        self, states: Sequence[Any], path: Path, provenance: Sequence[dict[str, Any]]
    ) -> Path:
        """Write how samples came about, from states [B, *shape] in that order: pictures or a page that move."""
        ...

    def label(self, name: str | int) -> int:
        """The index of a class by its name (which wins) or its index; the nearest name in the error."""
        ...

    def log_det(self) -> float:
        """`log |d state / d value|` of one item, in nats: add it to a log-density of the state."""
        ...

    def config(self) -> dict[str, Any]:
        """JSON-able; `from_config(config())` is the same codec exactly."""
        ...

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The codec of a saved `config()`."""
        ...


@runtime_checkable
class AugmentsStates(Protocol):
    """What a codec may add: augmentation without the items, so that their states can be kept.

    Where `augments_states`, `augmented(encode(items).state, seeds)` is `encode(items, seeds).state` to the bit.
    """

    @property
    def augments_states(self) -> bool: ...
    def augmented(self, state: Tensor, seeds: Sequence[int]) -> Tensor: ...


@runtime_checkable
class Cuts(Protocol):
    """What a codec of items of any length may add: which pieces of them are states, and how long states are.

    `cut`: a dataset of items that fit, every part of the given ones once. `length`: the quantile u in [0, 1] of the
    training items' lengths.
    """

    def cut(self, dataset: Dataset) -> Dataset: ...
    def length(self, u: float) -> int: ...


@dataclass(frozen=True)
class Outline:
    """What is settled of samples before they are drawn: their sizes, what is given of them, what they are to be.

    Attributes:
        shape: of the states drawn, without the batch; leaf -> shape.
        masks: `valid` and `observed` of n samples.
        known: the values of what is observed, None where nothing is.
        condition: for the network, tensors with n rows.
        about: for each sample, the arguments of `outline` that settle it again when it is drawn alone, JSON-able.
        steer: what to put around the denoiser so that samples are what was asked for; None: nothing.
        start: clean states to begin at, noised to the plan's first level; None: at noise.
    """

    shape: Shape
    masks: Masks
    known: State | None = None
    condition: dict[str, Tensor] = field(default_factory=dict)
    about: Sequence[dict[str, Any]] = ()
    steer: Callable[[nn.Module], nn.Module] | None = None
    start: Tensor | None = None


@runtime_checkable
class Outlines(Protocol):
    """What a codec adds whose states have several leaves.

    `processes`: leaf -> the options of its process, with their registry name (the number of `classes` of tokens is that
    of `categories`). `properties`: how many numbers the condition's `vector` holds. `outline`: of samples (seed, first)
    .. (seed, first + n - 1), of one leaf also of a list of seeds, (seed[i], first); `wanted` is what the user asks of them.
    """

    @property
    def processes(self) -> Mapping[str, dict[str, Any]]: ...
    @property
    def properties(self) -> Sequence[str]: ...
    def outline(self, n: int, seed: int, first: int, **wanted: Any) -> Outline: ...


@runtime_checkable
class DecodesGiven(Protocol):
    """What a codec adds whose states alone do not say what they are of, such as the angles of a given molecule.

    `decode_given`: states and the condition that they were drawn under to values; `decode` has nothing to say then.
    `save_trajectory` takes the condition too.
    """

    def decode_given(self, state: Any, condition: Mapping[str, Tensor]) -> list[Any]: ...


@runtime_checkable
class ScalesGiven(Protocol):
    """What a codec adds whose states have units of their own, which what is given of an item settles.

    `log_det_given`: `log |d state / d value|` float64 [B] of the values that are not given, under the condition that they
    were encoded with, in nats; `log_det` has nothing to say then. Its batches have masks.
    """

    def log_det_given(self, values: Sequence[Any], condition: Mapping[str, Tensor]) -> Tensor: ...


@runtime_checkable
class Tells(Protocol):
    """What a codec adds whose states are windows: how much its condition tells a network of them.

    `tells`: options of such a network, how many `covariates` and `static` features there are. Networks that say
    `takes_windows` take them, and no others fit.
    """

    @property
    def tells(self) -> Mapping[str, int]: ...


@runtime_checkable
class Affine(Protocol):
    """What a codec adds whose states are the values on one linear scale, so that measurements of them can be restored.

    `affine`: (offset, gain) of values `offset + gain x`. PerrinError where every entry has a scale of its own.
    """

    @property
    def affine(self) -> tuple[float, float]: ...


@dataclass(frozen=True)
class Seen:
    """What of a model's states can be measured where a network decodes them; see `Decodes`.

    Attributes:
        codec: of what they decode to, which is on one linear scale (`Affine`).
        outline: of one sample. weight: of guidance.
        decode: states [B, *outline.shape] to states of `codec`, row by row and differentiable; None: they are the same.
    """

    codec: Codec
    outline: Outline
    weight: float
    decode: Callable[[Tensor], Tensor] | None


@runtime_checkable
class Decodes(Protocol):
    """What a codec adds whose states are decoded by a network, so that measurements of what comes out can be restored.

    `shown`: the codec of what comes out, of so many pixels or of the model's own size. `seen`: of a sample of which
    `wanted` says what `outline` does; guidance None: `usual`, where there is anything to guide towards.
    """

    def shown(self, height: int | None = None, width: int | None = None) -> Codec: ...
    def seen(self, guidance: float | None, usual: float, **wanted: Any) -> Seen: ...


@runtime_checkable
class Negates(Protocol):
    """What a codec adds whose conditions say themselves what the unguided branch is told, such as a negative prompt.

    `null`: a condition to that of the unguided branch, with the entries that the network is told.
    """

    def null(self, condition: Mapping[str, Tensor] | None) -> dict[str, Tensor] | None: ...


class Kind(Protocol):
    """An entry of `registry.kinds`: the two halves of a kind of data.

    The keywords of `open` and of `codec.fit` are annotated and JSON-able, so a schema can be read from their
    signatures.
    """

    @property
    def sources(self) -> tuple[str, ...]:
        """The options of `open` of which a recipe must give one, so that no data are meant by silence."""
        ...

    @property
    def codec(self) -> type[Codec]: ...
    @property
    def open(self) -> Callable[..., Dataset]: ...
    @property
    def read_saved(self) -> Callable[[Path], Array]:
        """The values of a file that the codec's `save` wrote."""
        ...
