"""Training only the rows of an embedding table whose tokens occur.

A vocabulary holds tens of thousands of tokens, a data set of a few thousand sentences some thousands of them. The rows
of the others have a gradient of exactly zero, and still cost memory, a norm and an optimiser step each time.
"""

from collections.abc import Iterable
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from tlx.module import TransferModule
from tlx.processes.sharding import is_sharded


class CompactTable:
    """As a context, `table` (V, D) has the rows `ids` alone, and one more; afterwards it is whole again.

    Token ids are translated on their way into the table, so nothing else changes; one that has no row is an IndexError.

    A row without gradients is not always left alone: AdamW's and SGD's weight decay multiply it in every step. The last
    row stands for all that are left out: it is 1 at the start, never looked up, and so becomes the very number that the
    optimiser multiplies them by, whatever its schedule, momentum, frozen phases and skipped steps. That holds for
    optimisers whose step is linear in a parameter without gradients: see `multiplies`.

    Checkpoints made meanwhile hold the small table, under the name `name`; `whole_state` makes the full one of it.
    """

    def __init__(self, name: str, table: nn.Embedding, ids: Iterable[int]) -> None:
        self.name, self.table = name, table
        kept = {i for i in ids if 0 <= i < table.num_embeddings}
        kept |= set() if table.padding_idx is None else {table.padding_idx}
        self.rows = torch.tensor(sorted(kept))
        # Row of each token; where there is none, one that the table has not either.
        self._row = torch.full((table.num_embeddings,), len(self.rows) + 1)
        self._row[self.rows] = torch.arange(len(self.rows))
        self.initial = table.weight.detach()

    @property
    def counts(self) -> dict[str, int]:
        """For the record: rows of the whole table, and those that are trained."""
        return {"embedding_rows": len(self._row), "embedding_rows_trained": len(self.rows)}

    def __enter__(self) -> "CompactTable":
        table, full = self.table, self.table.get_parameter("weight")
        self._outside = full, table.padding_idx
        self.initial = full.detach()
        ones = torch.ones_like(self.initial[:1])
        table.weight = nn.Parameter(torch.cat([self.initial[self.rows], ones]), full.requires_grad)
        table.num_embeddings = len(table.weight)
        table.padding_idx = None if table.padding_idx is None else int(self._row[table.padding_idx])
        self._hook = table.register_forward_pre_hook(self._translate)
        return self

    def __exit__(self, *_: Any) -> None:
        self._hook.remove()
        small = self.table.weight.detach()
        full, self.table.padding_idx = self._outside
        full.data = self.whole(small)
        self.table.weight, self.table.num_embeddings = full, len(full)

    def whole(self, small: Tensor) -> Tensor:
        """The full table (V, D) that a small one (rows + 1, D) of this training stands for."""
        full = self.initial.to(small) * small[-1]
        full[self.rows.to(small.device)] = small[:-1]
        return full

    def whole_state(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A state dict from within the context as one of the network outside of it."""
        return state | {self.name: self.whole(state[self.name])}

    def _translate(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        ids, *rest = inputs
        self._row = self._row.to(ids.device)
        return self._row[ids], *rest


def compact_table(config: dict[str, Any], module: TransferModule, loaders: dict[str, Any]) -> CompactTable | None:
    """The embedding table of `module` reduced to the tokens that it meets while it trains on `loaders`.

    Texts of the test part are not looked at: the table is whole again before anything is computed from them.

    None where it would not be exact, or save nothing: a network without such a table, one that is never trained, one
    that other layers use too (an output tied to it) or that processes hold in shares, an optimiser that changes what
    has no gradient in other ways, or an objective, which may pull back what decay has moved.
    """
    plan = module.plan
    further = (objective.examples(module) for objective in module.objectives)
    examples = chain(*(loaders[part].dataset.examples for part in ("train", "selection")), *further)
    found = module.backbone.token_rows(examples)
    if found is None or is_sharded(config):
        return None
    table, ids = found
    users = [m for m in module.modules() if any(p is table.weight for p in m.parameters(recurse=False))]
    name = next((n for n, p in module.named_parameters() if p is table.weight), "")
    if users != [table] or name not in plan.trained:
        return None
    optimizer = module.make_optimizer(plan.optimizer_groups(module, module.lr, module.weight_decay))
    if not multiplies(optimizer, table.weight) or (module.objectives and name not in plan.no_decay):
        return None
    compact = CompactTable(name, table, ids)
    return compact if len(compact.rows) + 1 < table.num_embeddings else None


def multiplies(optimizer: torch.optim.Optimizer, parameter: Tensor) -> bool:
    """Whether the optimiser multiplies all values of `parameter` by the same number where their gradient is zero.

    SGD does, with decay and momentum too (a linear recurrence), and Adam if its decay is none of the gradient's (AdamW:
    1 − lr · decay in every step). Of others it is not known.
    """
    group = next(g for g in optimizer.param_groups if any(p is parameter for p in g["params"]))
    if type(optimizer) in (torch.optim.Adam, torch.optim.AdamW):
        return bool(group["decoupled_weight_decay"] or not group["weight_decay"])
    return type(optimizer) is torch.optim.SGD
