"""Inputs of the first active unit: outputs of the frozen units, stored or computed."""

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from fobench.activations.cut_chain import CutChain
from fobench.activations.frozen_prefix import FrozenPrefix
from fobench.activations.places import NoRoomError, out_of_memory_as_no_room
from fobench.activations.plan import StorePlan
from fobench.activations.plan_file import frozen_epochs_of
from fobench.activations.store import DTYPES, Store, store_with_room
from fobench.activations.together import of_all_ranks, own_chunks
from fobench.data.order import Indices
from fobench.data.split import Split, View
from fobench.experiment.run import Run
from fobench.machine.clock import Stopwatch
from fobench.machine.device import autocast
from fobench.machine.graphs import Graphs, Repeated
from fobench.machine.ranks import ALONE, Ranks
from fobench.machine.values import Values, first_of, images_in, numel, tensors_of

log = logging.getLogger(__name__)

FRESH = None  # the key of an augmentation that is used in one epoch only
# Types in which activations can overflow; the others have the range of float32.
NARROW = (torch.float16,)


class NotFiniteError(Exception):
    """Activations overflow the store's type."""


class OverBudgetError(NoRoomError):
    """A store would exceed the budget, given the other stores; a smaller one may fit."""


class Activations:
    """The inputs of the active units, batch by batch.

    Of several ranks each has a store of all images, as it may need any; they build it together,
    each every nth chunk, and have one only if all have room for it.

    Of the frozen units, those behind the store's cut remain to be run: by the training step, so
    that they are part of its CUDA graph.

    The frozen units run without gradients, always in chunks of one size, stored or not: that of a
    batch (or of all images, if there are fewer), or of the largest part of it that a rank has. On
    the CPU a float32 store is therefore bit-exact. A store is built from the previous one, or from
    the pixels, at the first batch of an epoch. Values that the plan stores as float16 or bfloat16
    stay rounded for the rest of the run, even if there is no room to store them.

    From the first epoch that starts with a frozen unit, a method with `views` = V sees view
    (epoch mod V) of its images, stored or not.

    Attributes:
        cut: where the current epoch's store was taken; 0 without a store.
        bytes: total size of all stores.
        notes: deviations from the plan.
    """

    def __init__(
        self,
        run: Run,
        units: Sequence[nn.Module],
        split: Split,
        plan: StorePlan,
        graphs: Graphs | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        """With `graphs`, stores are built by replaying one."""
        self.plan, self.notes = plan, list[str]()
        self.build_seconds, self.read_seconds = list[float](), list[float]()
        self._run, self._units, self._split, self._graphs = run, list(units), split, graphs
        self._ranks = ranks
        self._device = split.labels.device
        self._options = run.method.stores
        precompute = self._options.precompute
        self._dtype = DTYPES[self._options.store] if precompute else torch.float32
        self._chains: dict[int | None, CutChain] = {}
        self._has_room = self._can_round = True
        self._building, self._reading = Stopwatch(self._device), Stopwatch(self._device)
        epochs = frozen_epochs_of(run)
        self._views_from = epochs[0].epoch if epochs else run.epochs
        self._cut_to_build: int | None = None
        self._view: View | None = None
        self._key: int | None = FRESH

    def start(self, epoch: int) -> None:
        """Start an epoch: choose its view and the store to build in it."""
        self._key, self._view = self._view_of(epoch)
        self._cut_to_build = self.plan.cut_in(epoch) if self._can_round else None

    def inputs(self, indices: Indices, frozen: int) -> tuple[Values, FrozenPrefix]:
        """What `frozen_prefix.forward` turns into the input of unit `frozen`, and that prefix.

        `indices` [B ≤ the chunk size] are of images. If units are frozen, the values are those of a
        whole chunk, and the first B count. The frozen units must be in evaluation mode.
        """
        if self._cut_to_build is not None:
            cut, self._cut_to_build = self._cut_to_build, None
            self.build(cut)
        if not frozen:
            return self._split.images_at(indices, self._view), FrozenPrefix()
        chain, padded = self._chain, indices.padded(self._chunk)
        with self._reading.running() if chain.store else nullcontext():
            values = self._read(chain, self._view, padded)
        return values, FrozenPrefix(chain.stored, frozen, chain.cuts_after_store, self._dtype)

    def build(self, cut: int) -> None:
        """Store the activations of the epoch's view at a cut, replacing the view's previous store.

        The units before the cut must be in evaluation mode. If there is no room, or the store's
        type cannot hold the activations, a warning and a note are recorded.
        """
        chain = self._chain
        with self._building.running():
            try:
                store = self._try_to_build(chain, self._view, (cut,))
            except NotFiniteError as error:
                self._can_round = False
                self._note(f"{error}: training continues, no further store is built")
                return
        cuts = (*chain.cuts, cut)
        if store:
            self._chains[self._key] = CutChain(cuts, store, cut)
        else:
            self._chains[self._key] = CutChain(cuts, chain.store, chain.stored)

    def end(self) -> None:
        """End an epoch: record its seconds of building and reading."""
        self.build_seconds.append(self._building.read())
        self.read_seconds.append(self._reading.read())

    @property
    def cut(self) -> int:
        return self._chain.stored

    @property
    def bytes(self) -> int:
        return sum(chain.store.bytes for chain in self._chains.values() if chain.store)

    def summary(self) -> dict[str, Any]:
        """The entry in run.json: seconds of each epoch, and notes."""
        return {
            "build_seconds": list(self.build_seconds),
            "read_seconds": list(self.read_seconds),
            "notes": list(self.notes),
        }

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to rebuild the same stores."""
        return {
            "plan": asdict(self.plan),
            "chains": {
                str(view): [list(chain.cuts), chain.stored] for view, chain in self._chains.items()
            },
            "has_room": self._has_room,
            "can_round": self._can_round,
            **self.summary(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Rebuild the stores. Load the network and the method first: they run the frozen units."""
        self.plan = StorePlan.from_dict(state["plan"])
        self.notes = list(state["notes"])
        self.build_seconds = list(state["build_seconds"])
        self.read_seconds = list(state["read_seconds"])
        self._chains = {}
        for key, (cuts, stored) in state["chains"].items():
            kept = [cut for cut in cuts if cut <= stored]
            view = self._draw(int(key))
            store = self._try_to_build(CutChain(), view, kept) if kept else None
            self._chains[int(key)] = CutChain(tuple(cuts), store, stored if store else 0)
        self._has_room = self._has_room and state["has_room"]
        self._can_round = state["can_round"]

    def _view_of(self, epoch: int) -> tuple[int | None, View | None]:
        """The key under which an epoch's activations can be stored, and its view."""
        if epoch < self._views_from:
            return FRESH, self._split.draw_view(self._run.seed, epoch)
        if self._options.views:
            key = epoch % self._options.views
            return key, self._draw(key)
        # Without augmentation all epochs see the same images.
        view = self._split.draw_view(self._run.seed, epoch)
        return (0 if view is None else FRESH), view

    def _draw(self, key: int) -> View | None:
        return self._split.draw_view(self._run.seed, key, "view")

    @property
    def _chain(self) -> CutChain:
        return self._chains.get(self._key, CutChain())

    def _try_to_build(
        self, chain: CutChain, view: View | None, cuts: Sequence[int]
    ) -> Store | None:
        """A store at the last of `cuts`, made from `chain`; None if there is no room.

        Once memory or disk is exhausted, no further store is tried. Raises NotFiniteError if the
        store's type cannot hold the activations.
        """
        if self._has_room:
            try:
                with out_of_memory_as_no_room() if self._ranks.count == 1 else nullcontext():
                    return self._compute_all(chain, view, cuts, keep=True)
            except NoRoomError as error:
                if not isinstance(error, OverBudgetError):
                    self._has_room = False
                self._note(f"no room for a store at cut {cuts[-1]} ({error}): computed instead")
        # Values are rounded even if not stored: check that the type can hold them.
        if self._dtype in NARROW:
            self._compute_all(chain, view, cuts, keep=False)
        return None

    def _note(self, note: str) -> None:
        if note not in self.notes:
            log.warning("%s", note)
            self.notes.append(note)

    @torch.no_grad()
    def _compute_all(
        self, chain: CutChain, view: View | None, cuts: Sequence[int], keep: bool
    ) -> Store | None:
        """Compute all images in order, from `chain` through the cuts; store them if `keep`.

        Raises NoRoomError or NotFiniteError, on all ranks alike.
        """
        store, fits = None, torch.ones((), dtype=torch.bool, device=self._device)
        prefix = FrozenPrefix(chain.stored, cuts[-1], (*chain.cuts_after_store, *cuts), self._dtype)
        forward = self._repeated(lambda values: prefix.forward(self._units, values))
        everything = Indices.of(torch.arange(len(self._split)), self._device)
        chunks = list(everything.batches(self._chunk))
        own = own_chunks(len(chunks), self._ranks)
        with self._split.ahead([chunks[number] for number in own]):
            for turn, number in enumerate(own):
                values = self._read(chain, view, chunks[number].padded(self._chunk))
                with autocast(self._device, self._run.train.precision):
                    values = forward(values, calls_left=len(own) - turn)
                if self._dtype in NARROW:
                    for each in tensors_of(first_of(values, len(chunks[number]))):
                        fits &= each.isfinite().all()
                if keep:
                    store = store or self._allocate(values)
                    found = of_all_ranks(values, self._dtype, self._ranks)
                    for chunk, each in enumerate(found, start=turn * self._ranks.count):
                        if chunk < len(chunks):
                            store.write(chunk * self._chunk, first_of(each, len(chunks[chunk])))
        if store:
            store.finish()
        if self._dtype in NARROW and not self._ranks.all(fits):  # waits for the device
            raise NotFiniteError(
                f"activations at cut {cuts[-1]} exceed the range of {self._options.store}"
            )
        return store

    def _repeated(self, work: Callable[[Values], Values]) -> Callable[..., Values]:
        if self._graphs is not None:
            return Repeated(work, self._graphs)
        return lambda values, calls_left: work(values)

    def _allocate(self, values: Values) -> Store:
        """An empty store in the planned place, or in a slower one if that has no room.

        Raises NoRoomError on all ranks if one has no room; the budget is the same for all.
        """
        size = len(self._split) * (numel(values) // images_in(values)) * self._dtype.itemsize
        if self.bytes + size > self.plan.room:
            raise OverBudgetError(
                f"a store of {size:,} bytes, with {self.bytes:,} in use already, exceeds the "
                f"budget of {self.plan.room:,}"
            )
        store, refused, place = None, "another process has none", self.plan.place
        try:
            store = store_with_room(len(self._split), values, self._dtype, place, self._device)
        except NoRoomError as error:
            refused = str(error)
        if not self._ranks.all(store is not None):
            raise NoRoomError(refused)
        if store.place != place:
            self._note(f"a store is in the {store.place}, not in the {place}")
        return store

    def _read(self, chain: CutChain, view: View | None, indices: Indices) -> Values:
        """Values from a chain's store; the images if it has none."""
        if chain.store is None:
            return self._split.images_at(indices, view)
        return chain.store.read(indices.device if chain.store.is_on_device else indices.host)

    @property
    def _chunk(self) -> int:
        """The number of images that frozen units run on at once."""
        return self._ranks.largest_part(min(self._run.train.batch_size, len(self._split)))
