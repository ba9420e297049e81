"""torch.compile for the training of a run: faster steps after some compiling, under the same names in checkpoints."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from tlx.errors import UserError, one_line
from tlx.private import call_as_written, compile_counters

BACKEND = "inductor"


@contextmanager
def compiled(backbone: nn.Module, on: bool) -> Iterator[dict[str, Any]]:
    """While this context is open the forward and backward passes of `backbone` are compiled, if `on`; nothing else is.

    Yields what a record should say, filled in at the end: how many `graphs` were compiled, and the `graph_breaks` at
    which Python has to take over, by reason.
    """
    found: dict[str, Any] = {}
    if not on:
        yield found
        return
    forget_compiled()
    counters = compile_counters()
    counters.clear()
    backbone.compile(backend=BACKEND)
    try:
        yield found
    finally:
        found |= {"graphs": counters["stats"]["unique_graphs"], "graph_breaks": dict(counters["graph_break"])}
        call_as_written(backbone)
        forget_compiled()


def forget_compiled() -> None:
    """Throw away what torch has compiled in this process; what is called again is compiled anew.

    The compiler looks anew where shapes or modes change, but is not to be relied on where gradients begin or end to be
    wanted, or hooks come and go: compiled code would train the layers of the phase before.
    """
    if dynamo := sys.modules.get("torch._dynamo"):  # not imported: nothing was compiled
        dynamo.reset()


def check_compiled(config: dict[str, Any]) -> None:
    """See that a run with trainer.compile=true is possible.

    Raises:
        UserError: no compiler, or parts that do not go together.
    """
    options = config["trainer"]
    if not options["compile"]:
        return
    if options["devices"] > 1 and options["strategy"] == "fsdp":
        raise UserError(
            "trainer.compile=true does not work with trainer.strategy=fsdp: say trainer.strategy=ddp, or compile=false."
        )
    if config["strategy"]["mixout"]:
        raise UserError(
            "trainer.compile=true does not work with strategy.mixout, which exchanges weights in hooks while the "
            "network runs: say trainer.compile=false."
        )
    if options["accelerator"] == "cpu" or not torch.cuda.is_available():
        from tlx.private import get_cpp_compiler  # it takes a second to import

        try:
            get_cpp_compiler()
        except Exception as error:
            raise UserError(
                f"trainer.compile=true needs a C++ compiler on a CPU ({one_line(error)}): install g++ or clang, name "
                "it in the environment variable CXX, or say trainer.compile=false."
            ) from error
