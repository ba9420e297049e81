"""Frozen work done once: while the lowest layer groups are frozen, what they make of an example is kept on disk and
played back, over epochs, seeds, strategies, phases and runs. Only what is above them is computed again.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tlx.cache.blocks import BLOCK, encode_in_blocks
from tlx.cache.boundary import Boundary, Shape, captured, find_boundary, play_back
from tlx.cache.key import prefix_key
from tlx.cache.store import Store, Writer
from tlx.cache.stores import GB, features_folder, limit_of, make_room, making, remove_drafts
from tlx.errors import out_of_space
from tlx.network.modes import in_eval_mode
from tlx.plan import ParameterPlan

CHECKED = 8  # examples on which what is played back is compared with what is computed
# Operations per kept byte below which reading is no faster than computing: a CPU core does some 30 billion operations
# in the time in which it reads a billion bytes from memory, a GPU some thousands.
WORTH = {"cpu": 30.0, "cuda": 3000.0}
TOLERANCE = {"on": 1e-5, "bf16": 5e-2}  # of the largest logit


class EncodedPart(Protocol):
    """What is asked of a run's encoded examples, `tlx.data.loaders.Examples`."""

    @property
    def examples(self) -> Sequence[Any]: ...

    @property
    def augmentation(self) -> dict[str, Any] | None: ...

    @property
    def lengths(self) -> np.ndarray: ...

    @property
    def content(self) -> str: ...

    def __len__(self) -> int: ...

    def collate(self, items: list[tuple]) -> dict[str, Tensor]: ...


def depths(plan: ParameterPlan) -> list[int]:
    """For each phase: the depth below which no layer was trainable in it or before it."""
    lowest = [min(g.depth for g in plan.groups if g.name in phase.trainable) for phase in plan.phases]
    return [min(lowest[: i + 1]) for i in range(len(lowest))]


class FrozenWork:
    """Plays frozen layers back to a planned module, for the examples of a run's parts.

    `parts` are the encoded examples by name; `mode` is the config's `cache` (on: float32, bf16: encoded and kept in
    bfloat16), `limit` the room for all stores in bytes. `logits(batch, part)` equals `module(batch)`. A store's key is
    a hash of the frozen tensors, the network's structure and versions, and the examples; which examples are encoded
    together (`tlx.cache.blocks`) depends on nothing else: so the values do not depend on who computed them.

    `reasons` says, in words, why a boundary is not used.
    """

    def __init__(
        self,
        module: L.LightningModule,
        plan: ParameterPlan,
        parts: dict[str, EncodedPart],
        root: Path,
        mode: str,
        limit: int,
        refused: str | None = None,
    ) -> None:
        self.module, self.plan, self.parts = module, plan, parts
        self.root, self.mode, self.limit, self.refused = features_folder(root), mode, limit, refused
        self.half = mode == "bf16"
        self.depths = depths(plan)
        self.depth = self.depths[0]
        self.reasons: list[str] = []
        self.hits = self.encoded = 0
        self.seconds = self.seconds_alone = 0.0
        self.difference = 0.0
        self._boundaries: dict[int, Boundary] | None = None
        self._hashes: dict[str, str] = {}  # of each frozen layer group, which does not change
        self._stores: dict[tuple[str, int], Store | None] = {}
        self._whole: dict[Path, Tensor] = {}  # what `at_entry` has read of each store

    def share(self, other: "FrozenWork") -> None:
        """Know what `other` knows, whose frozen tensors are the same, and hold in memory once what both read."""
        self._hashes, self._whole = other._hashes, other._whole

    def prepare(self, parts: Iterable[str]) -> None:
        """Make what these parts will need, before training changes how the network holds its weights."""
        for part in parts:
            self._store(part)

    def enter(self, phase: int) -> None:
        """Training is in this phase."""
        self.depth = self.depths[phase]

    def finish(self) -> None:
        """Training has ended: whichever checkpoint is loaded, what no phase trains is as it was."""
        self.depth = self.depths[-1]

    def logits(self, batch: dict[str, Tensor], part: str) -> Tensor:
        """(B, classes): `module(batch)`, where `batch["index"]` are positions in `part`."""
        store, boundary = self._store(part)
        if store is None or boundary is None or store.about["padding"] is None:
            return self.module(batch)
        self.hits += len(batch["index"])
        return self._played(batch, store, boundary, store.about["padding"] == "left")

    def at_entry(self, part: str, entry: str) -> Tensor | None:
        """(n, …): what enters the module `entry` for every example of `part`, where nothing else is kept; else None."""
        store, boundary = self._store(part)
        if store is None or boundary is None or store.about["padding"] is None or boundary.entry != entry:
            return None
        if not store.alike or len(boundary.kept) != 1:
            return None
        if store.folder not in self._whole:
            (self._whole[store.folder],), _ = store.read(range(len(store.offsets)), at_end=False)
        self.hits += len(store.offsets)
        return self._whole[store.folder]

    def summary(self) -> dict[str, Any]:
        """For the record: whether anything was played back, at which layers, how often, and why not."""
        stores = [store for store in self._stores.values() if store is not None]
        found = {
            "mode": self.mode,
            "used": self.hits > 0,
            "boundaries": sorted({s.about["boundary"] for s in stores}),
            "hits": self.hits,
            "encoded": self.encoded,
            "bytes": sum(store.bytes for store in stores),
            "reasons": sorted(set(self.reasons)),
        }
        return found | ({"largest_difference": self.difference} if self.mode == "bf16" else {})

    def _played(self, batch: dict[str, Tensor], store: Store, boundary: Boundary, at_end: bool) -> Tensor:
        values, skipped = store.read(batch["index"].tolist(), at_end)
        device = batch["index"].device
        return play_back(self.module, boundary, batch, self.module, [v.to(device) for v in values], skipped)

    def _store(self, part: str) -> tuple[Store | None, Boundary | None]:
        """The deepest store that may be read now; all that this part will need are made on the first call."""
        if self._boundaries is None:
            self._boundaries = self._find()
        now = [d for d in self._boundaries if d <= self.depth]
        if not now:
            return None, None
        depth = max(now)
        if (part, depth) not in self._stores:
            self._make(part, [self._boundaries[d] for d in now])
        return self._stores[part, depth], self._boundaries[depth]

    def _find(self) -> dict[int, Boundary]:
        """The boundaries that some phase from now on needs and that are worth their bytes, by depth."""
        if self.refused:
            self.reasons.append(self.refused)
            return {}
        data = self.parts["train"]
        wanted = sorted({d for d in self.depths if d <= self.depth and d > 0})
        if not wanted:
            self.reasons.append("no layer is frozen")
            return {}
        if data.augmentation:
            self.reasons.append("training examples are augmented")
            # Those of the other parts are not, but they alone are a small share of the work.
            return {}
        example = data.examples[int(data.lengths.argmin())]
        found = {}
        in_parts = getattr(getattr(self.module, "backbone", None), "reads_padding", False)
        with self._at_rest():
            batch = self._batch(data, [example, example])
            for depth in wanted:
                boundary = find_boundary(self.module, self.plan.groups, depth, batch, self.module)
                if boundary is not None and boundary.entry != "task" and in_parts:
                    self.reasons.append("the network reads padding, so texts of one length at a time")
                elif boundary is None:
                    self.reasons.append(f"what enters at depth {depth} does not come from frozen layers alone")
                elif self._worth(boundary, batch):
                    found[depth] = boundary
                else:
                    self.reasons.append(f"reading what enters {boundary.entry} is slower than computing it")
        return found

    def _worth(self, boundary: Boundary, batch: dict[str, Tensor]) -> bool:
        """A rule on counts, not on clocks: the same run always comes to the same answer."""
        counter = FlopCounterMode(display=False)
        with counter:
            values, _ = captured(self.module, [boundary], batch, self.module)[boundary.depth]
        size = sum(v.numel() for v in values) * (2 if self.half else 4)
        return counter.get_total_flops() / size >= WORTH["cpu" if self.module.device.type == "cpu" else "cuda"]

    def _make(self, part: str, boundaries: Sequence[Boundary]) -> None:
        """Open the part's stores, after encoding what is not there."""
        data = self.parts[part]
        content = data.content
        keys = {b.depth: self._key(b.depth, content, b.entry, *b.kept) for b in boundaries}
        # Whoever might write one of these has the same lowest layers and the same examples.
        with making(self.root, self._key(1, content)):
            missing = [b for b in boundaries if Store.open(self.root, keys[b.depth]) is None]
            if missing:
                began = time.perf_counter()
                try:
                    self._encode(data, missing, keys, part)
                except OSError as error:
                    if not out_of_space(error):
                        raise
                    self.reasons.append("the disk is full")
                    remove_drafts(self.root, [keys[b.depth] for b in missing])
                self.seconds += time.perf_counter() - began
            for boundary in boundaries:
                store = self._stores[part, boundary.depth] = Store.open(self.root, keys[boundary.depth])
                if store is None:
                    continue
                if store.about["padding"] is None:
                    self.reasons.append(f"what enters {boundary.entry} depends on the other examples of a batch")
                self.seconds_alone += store.about["seconds"]
                self.difference = max(self.difference, store.about["difference"])

    def _encode(self, data: EncodedPart, boundaries: Sequence[Boundary], keys: dict[int, str], part: str) -> None:
        """One pass over the examples, to the deepest of the boundaries that can be played back."""
        began = time.perf_counter()
        about = {"part": part, "examples": len(data), "mode": self.mode, "seconds": 0.0}
        usable: list[Boundary] = []
        padding: dict[int, dict[str, Any]] = {}
        needed = 0
        for boundary in boundaries:
            writer = Writer(self.root, keys[boundary.depth], self.half)
            size, padding[boundary.depth] = self._try(data, boundary, writer)
            if padding[boundary.depth]["padding"] is None:
                writer.finish(about | {"boundary": boundary.entry} | padding[boundary.depth])
            elif make_room(self.root, needed + size, self.limit):
                usable.append(boundary)
                needed += size
            else:
                self.reasons.append(f"{part} needs {size / GB:.2g} GB, which cache_limit or the disk has not")
                remove_drafts(self.root, [keys[boundary.depth]])
        if not usable:
            return
        writers = {b.depth: Writer(self.root, keys[b.depth], self.half) for b in usable}
        self._write(data, usable, writers)
        self.encoded += len(data)
        about["seconds"] = (time.perf_counter() - began) / len(usable)
        for boundary in usable:
            writers[boundary.depth].readable()
            writers[boundary.depth].finish(about | {"boundary": boundary.entry} | padding[boundary.depth])

    def _write(
        self,
        data: EncodedPart,
        boundaries: Sequence[Boundary],
        writers: dict[int, Writer],
        chosen: Sequence[int] | None = None,
    ) -> None:
        """Write what enters at the boundaries for all examples, or for the chosen ones as if there were no others."""
        chosen = range(len(data)) if chosen is None else chosen
        lengths = [int(data.lengths[i]) for i in chosen]

        def encode(rows: list[int]) -> list[Shape]:
            batch = self._batch(data, [data.examples[chosen[row]] for row in rows])
            half = torch.autocast(self.module.device.type, dtype=torch.bfloat16) if self.half else nullcontext()
            with self._at_rest(), half:
                found = captured(self.module, boundaries, batch, self.module)
            for depth, (values, skipped) in found.items():
                writers[depth].add(rows, [lengths[row] for row in rows], values, skipped)
            return [s for values, skipped in found.values() for s in [*(tuple(v.shape[1:]) for v in values), *skipped]]

        encode_in_blocks(lengths, encode)

    def _try(self, data: EncodedPart, boundary: Boundary, writer: Writer) -> tuple[int, dict[str, Any]]:
        """The bytes that all examples need, and on which side shorter ones are padded to play them back.

        Some examples, from the shortest to the longest, are encoded and played back as one batch. `difference` is the
        largest one to the computed logits, as a share of the largest logit. Padding None: it is too large on either
        side, so this network does not compute an example independently of the others of its batch.
        """
        lengths = data.lengths
        order = np.argsort(lengths, kind="stable")
        chosen = order[np.linspace(0, len(order) - 1, min(CHECKED, len(order))).astype(int)].tolist()
        self._write(data, [boundary], {boundary.depth: writer}, chosen)
        store = writer.readable()
        size = int(store.bytes * lengths.sum() / lengths[chosen].sum())
        batch = self._batch(data, [data.examples[i] for i in chosen])
        differences = {}
        with self._at_rest():
            true = self.module(batch)
            for side in ("right", "left"):
                gap = (self._played(batch, store, boundary, side == "left") - true).abs().max() / true.abs().max()
                differences[side] = float(gap)
                if gap <= TOLERANCE[self.mode]:
                    return size, {"padding": side, "difference": differences[side]}
        return size, {"padding": None, "difference": min(differences.values())}

    def _key(self, depth: int, *further: object) -> str:
        return prefix_key(self.module, self.plan, depth, self._hashes, self.mode, ("one shape", BLOCK), *further)

    def _batch(self, data: EncodedPart, examples: Sequence[Any]) -> dict[str, Tensor]:
        batch = data.collate([(example, 0, row) for row, example in enumerate(examples)])
        return {name: value.to(self.module.device) for name, value in batch.items()}

    @contextmanager
    def _at_rest(self) -> Iterator[None]:
        """The module in eval mode, without gradients and without drawing random numbers of the run."""
        with in_eval_mode(self.module), torch.no_grad(), torch.random.fork_rng():
            yield


def frozen_work(config: dict[str, Any], module: L.LightningModule, loaders: dict[str, Any]) -> FrozenWork:
    """What keeps the outputs of a run's frozen layers, as its config says; where it cannot, it says why."""
    options, refused = config["trainer"], None
    if config["cache"] == "off":
        refused = "cache=off"
    elif options["devices"] > 1:
        refused = "several devices"
    elif options["compile"]:  # playing back goes by hooks, which the compiler does not look for
        refused = "trainer.compile=true"
    elif str(options["precision"]) not in ("32", "32-true"):
        refused = f"trainer.precision={options['precision']}"
    parts = {name: loaders[name].dataset for name in ("train", "validation", "test")}
    root, limit = Path(config["paths"]["cache"]), limit_of(config)
    assert isinstance(module.plan, ParameterPlan)
    return FrozenWork(module, module.plan, parts, root, config["cache"], limit, refused)
