"""Do the verdicts of the demo's table depend on the processor? The demo again and again, its weights off by 1e-7.

Another processor, or another version of a library, adds up in another order: results differ in the last bits, and what
was trained from them, after some hundred steps, in the second digit. Here every initial weight of every run, those of
the source network's own training included, is multiplied by 1 + 1e-7 · N(0, 1) before anything is trained. Printed is,
for each row of the table, the verdict of each repetition, the range of its gain, and whether all verdicts agree; the
exit status is 1 where some do not. Repetition 0 is not perturbed.

    .venv/bin/python benchmarks/demo_noise.py --times 8 [OVERRIDES OF THE STUDY]
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

import tlx.train
from tlx.results import build_table, collect
from tlx.sweeps.execute import run_sweep

RELATIVE = 1e-7
STUDY = "letters_to_digits"
SHOWN = ("mean", "gain", "gain_p", "gain_p_holm", "verdict")
assemble = tlx.train.assemble


def off_by(number: int) -> Callable[[dict[str, Any]], Any]:
    """`assemble`, with weights off by rounding; always the same for a number and a seed."""

    def perturbed(config: dict[str, Any]) -> Any:
        data, module = assemble(config)
        draw = torch.Generator().manual_seed(1000 * number + config["seed"])
        with torch.no_grad():
            for weight in module.parameters():
                weight.mul_(1 + RELATIVE * torch.randn(weight.shape, generator=draw))
        return data, module

    return perturbed if number else assemble


def rows(number: int, words: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The demo's table in a place of its own, by row."""
    tlx.train.assemble = off_by(number)
    with tempfile.TemporaryDirectory() as place:
        folders = [f"paths.{name}={place}/{name}" for name in ("runs", "registry", "cache")]
        run_sweep([f"experiment={STUDY}", "hydra.launcher.backend=in_process", *folders, *words], None)
        table = build_table(collect(Path(place) / "runs" / STUDY))
    return {f"{row['strategy']} × {row['train_size']}": row for row in table.rows}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=8, help="repetitions with other last bits")
    parser.add_argument("--first", type=int, default=0, help="the number of the first; 0 is not perturbed")
    parser.add_argument("words", nargs="*", help="overrides of the study")
    given = parser.parse_args()
    found: list[dict[str, dict[str, Any]]] = []
    for number in range(given.first, given.first + given.times + (given.first == 0)):
        found.append(rows(number, given.words))
        shown = {
            name: [row["mean"], row["gain"], row["gain_p_holm"], row["verdict"]] for name, row in found[-1].items()
        }
        print(json.dumps({"repetition": number, "rows": shown}), flush=True)
    agree = True
    for name, first in found[0].items():
        if first["gain"] is None:
            continue
        verdicts = [each[name]["verdict"] for each in found]
        gains = [each[name]["gain"] for each in found]
        agree &= len(set(verdicts)) == 1
        counted = ", ".join(f"{verdict} {verdicts.count(verdict)}" for verdict in dict.fromkeys(verdicts))
        print(f"{name:40} {counted:30} gain {min(gains):+.3f} to {max(gains):+.3f}")
    print(f"{len(found)} tables: " + ("all verdicts agree" if agree else "verdicts differ"))
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
