"""The place in a network where frozen layers end: what enters there can be kept, and the layers before it skipped."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from tlx.layer_groups import LayerGroup
from tlx.private import TreeSpec, tree_flatten, tree_unflatten

Shape = tuple[int, ...]
Forward = Callable[[dict[str, Tensor]], Any]


@dataclass(frozen=True)
class Skipped:
    """One call of a frozen module before the boundary, and the structure of what it returned."""

    module: str
    spec: TreeSpec
    leaves: tuple[Any, ...]  # (shape without the batch, dtype) for a tensor, anything else as it is


@dataclass(frozen=True)
class Boundary:
    """Where the layer groups from `depth` up begin: at the first call of `entry`.

    `kept` are the positions, among the flattened arguments of that call, of the tensors that come from frozen layers.
    What else enters there (attention masks, positions) the network computes anew without them.
    """

    depth: int
    entry: str
    skipped: tuple[Skipped, ...]
    kept: tuple[int, ...]


class _Reached(Exception):
    """No error: ends a forward pass at the boundary."""


def _until_reached(forward: Forward, batch: dict[str, Tensor], handles: Sequence[RemovableHandle]) -> None:
    """A forward pass that ends where one of the hooks behind `handles` raises `_Reached`; they are removed after it."""
    try:
        forward(batch)
    except _Reached:
        pass
    finally:
        for handle in handles:
            handle.remove()


def find_boundary(
    module: nn.Module, groups: Sequence[LayerGroup], depth: int, batch: dict[str, Tensor], forward: Forward
) -> Boundary | None:
    """The boundary below the groups with `depth` and more; None where the network has none that can be played back.

    `forward(batch)` runs `module`, which is in eval mode; `batch` holds two or more examples of one length.
    """
    above = {name for group in groups if group.depth >= depth for name in group.modules}
    rows = len(next(iter(batch.values())))
    skipped: list[Skipped] = []
    open_calls: list[str] = []
    entered: list[tuple[str, list[Any]]] = []

    def below(name: str) -> bool:
        return not any(other == name or other.startswith(f"{name}.") for other in above) if name else False

    frozen = {name for name, _ in module.named_modules() if below(name)}

    def enter(name: str) -> Callable[..., None]:
        def hook(part: nn.Module, args: Any, kwargs: Any) -> None:
            if name in above:
                entered.append((name, tree_flatten((args, kwargs))[0]))
                raise _Reached
            if name in frozen:
                open_calls.append(name)

        return hook

    def leave(name: str) -> Callable[..., None]:
        def hook(part: nn.Module, inputs: Any, output: Any) -> None:
            if name in frozen:
                open_calls.pop()
                if not open_calls:  # the outermost of the frozen modules is skipped as a whole
                    leaves, spec = tree_flatten(output)
                    skipped.append(Skipped(name, spec, tuple(_hollow(leaf) for leaf in leaves)))

        return hook

    def _hollow(leaf: Any) -> Any:
        return (
            _Outline(leaf.shape[1:], leaf.dtype, len(leaf) == rows) if isinstance(leaf, Tensor) and leaf.ndim else leaf
        )

    handles = []
    for name, part in module.named_modules():
        handles += [
            part.register_forward_pre_hook(enter(name), with_kwargs=True),
            part.register_forward_hook(leave(name)),
        ]
    _until_reached(forward, batch, handles)
    # What has no row per example (positions, a position bias) does not come from the examples: it is computed anew.
    shared = {c.module for c in skipped if any(isinstance(o, _Outline) and not o.per_example for o in c.leaves)}
    skipped = [call for call in skipped if call.module not in shared]
    if not entered or not skipped:
        return None
    outlines = [leaf for call in skipped for leaf in call.leaves if isinstance(leaf, _Outline)]
    entry, true = entered[0]
    draft = Boundary(depth, entry, tuple(skipped), ())
    hollow = entering(module, draft, batch, forward, [o.shape for o in outlines])
    if len(hollow) != len(true):
        return None
    kept = [i for i, (a, b) in enumerate(zip(true, hollow, strict=True)) if _differ(a, b)]
    if not kept or not all(len(true[i]) == rows and true[i].is_floating_point() for i in kept):
        return None
    return Boundary(depth, entry, tuple(skipped), tuple(kept))


@dataclass(frozen=True)
class _Outline:
    """A tensor's shape without the batch, and whether its first dimension was the batch."""

    shape: Shape
    dtype: torch.dtype
    per_example: bool


def _differ(true: Any, other: Any) -> bool:
    if not isinstance(true, Tensor) or not isinstance(other, Tensor):
        return isinstance(true, Tensor)
    return true.shape != other.shape or not torch.equal(true, other)


def captured(
    module: nn.Module, boundaries: Sequence[Boundary], batch: dict[str, Tensor], forward: Forward
) -> dict[int, tuple[list[Tensor], list[Shape]]]:
    """One forward pass, ended at the deepest boundary: {depth: (what enters there, shapes of what is skipped)}."""
    deepest = max(boundaries, key=lambda b: b.depth)
    found: dict[int, list[Tensor]] = {}
    outputs: dict[str, list[Any]] = {}
    handles = []

    def enter(boundary: Boundary) -> Callable[..., None]:
        def hook(part: nn.Module, args: Any, kwargs: Any) -> None:
            leaves = tree_flatten((args, kwargs))[0]
            found.setdefault(boundary.depth, [leaves[i].detach().clone() for i in boundary.kept])
            if boundary is deepest:
                raise _Reached

        return hook

    def leave(name: str) -> Callable[..., None]:
        def hook(part: nn.Module, inputs: Any, output: Any) -> None:
            outputs.setdefault(name, []).append(output)

        return hook

    for boundary in boundaries:
        part = module.get_submodule(boundary.entry)
        handles.append(part.register_forward_pre_hook(enter(boundary), with_kwargs=True))
    for name in {call.module for boundary in boundaries for call in boundary.skipped}:
        handles.append(module.get_submodule(name).register_forward_hook(leave(name)))
    _until_reached(forward, batch, handles)
    result = {}
    for boundary in boundaries:
        calls = {name: iter(values) for name, values in outputs.items()}
        shapes = []
        for call in boundary.skipped:
            leaves = tree_flatten(next(calls[call.module]))[0]
            shapes += [leaf.shape[1:] for leaf in leaves if isinstance(leaf, Tensor) and leaf.ndim]
        result[boundary.depth] = found[boundary.depth], [tuple(s) for s in shapes]
    return result


def entering(
    module: nn.Module, boundary: Boundary, batch: dict[str, Tensor], forward: Forward, shapes: Sequence[Shape]
) -> list[Any]:
    """What enters at the boundary when the layers before it are skipped."""
    found: list[list[Any]] = []

    def hook(part: nn.Module, args: Any, kwargs: Any) -> None:
        found.append(tree_flatten((args, kwargs))[0])
        raise _Reached

    with _skipping(module, boundary, batch, shapes):
        handle = module.get_submodule(boundary.entry).register_forward_pre_hook(hook, with_kwargs=True)
        _until_reached(forward, batch, [handle])
    return found[0]


def play_back(
    module: nn.Module,
    boundary: Boundary,
    batch: dict[str, Tensor],
    forward: Forward,
    values: Sequence[Tensor],
    shapes: Sequence[Shape],
) -> Any:
    """`forward(batch)` with the frozen layers skipped and `values` entering at the boundary.

    values: what `captured` gave for these examples, padded to a batch; shapes: of what is skipped, without the batch.
    """
    with _skipping(module, boundary, batch, shapes) as state:

        def hook(part: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
            if state.entered:
                return None
            state.entered = True
            leaves, spec = tree_flatten((args, kwargs))
            for position, value in zip(boundary.kept, values, strict=True):
                leaves[position] = value
            return tree_unflatten(leaves, spec)

        handle = module.get_submodule(boundary.entry).register_forward_pre_hook(hook, with_kwargs=True)
        try:
            return forward(batch)
        finally:
            handle.remove()


class _State:
    """How far a forward pass has come: calls skipped, and whether it is past the boundary."""

    def __init__(self) -> None:
        self.calls, self.shapes, self.entered = 0, 0, False


@contextmanager
def _skipping(
    module: nn.Module, boundary: Boundary, batch: dict[str, Tensor], shapes: Sequence[Shape]
) -> Iterator[_State]:
    """Within this context the skipped modules return zeros of the right structure, until the boundary is reached."""
    state = _State()
    some = next(iter(batch.values()))
    parts = {call.module: module.get_submodule(call.module) for call in boundary.skipped}

    def stand_in(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            if state.entered:  # a module of the frozen part that is used once more above it
                return real(*args, **kwargs)
            call = boundary.skipped[state.calls]
            assert call.module == name, f"{name} came when {call.module} was due"
            state.calls += 1
            leaves = []
            for leaf in call.leaves:
                if isinstance(leaf, _Outline):
                    # One zero, seen as a whole tensor: nothing is allocated.
                    zero = torch.zeros((), dtype=leaf.dtype, device=some.device)
                    leaf = zero.expand(len(some), *shapes[state.shapes])
                    state.shapes += 1
                leaves.append(leaf)
            return tree_unflatten(leaves, call.spec)

        return forward

    for name, part in parts.items():
        vars(part)["forward"] = stand_in(name, part.forward)
    try:
        yield state
    finally:
        for part in parts.values():
            vars(part).pop("forward", None)
