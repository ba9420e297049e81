"""How long `tlx train -m --dry-run` takes to plan 10,000 runs, and how much memory: few choices of yamls, and many.

`make bench` runs this. Planning is composing, checking values, hashing contents and naming folders; what follows when a
sweep begins (each different combination is built and tried once) depends on the models and is not counted.
"""

import re
import sys
import tempfile
from pathlib import Path

import commands

TLX = [sys.executable, "-c", "from tlx.cli import main; main()", "train", "-m", "--dry-run"]
RUNS = 10_000
# Without pretrained weights, so that nothing has to be there.
FEW = [
    "model=resnet18",
    "strategy=scratch,scratch_long",
    "dataset.train_size=20,50,100,200,500",
    "optimizer.lr=range(1,11)",
]
MANY = [
    "strategy=scratch,scratch_long,random_features",
    "model=resnet18,resnet50,efficientnet_b0,convnext_tiny,vit_small,squeezenet,cifar_resnet20",
    "dataset=digits,letters",
    "optimizer=adamw,sgd",
    "scheduler=linear,cosine,constant",
]
LIMITS = {"seconds": 30.0, "GB": 1.0}


def measure(axes: list[str], folder: Path) -> tuple[int, dict[str, float]]:
    """The number of runs that were planned, and what that took."""
    places = [f"paths.{name}={folder / name}" for name in ("runs", "registry", "cache")]
    printed, found = commands.measure([*TLX, *axes, *places])
    (number,) = re.findall(r"(\d+) not begun", printed)
    return int(number), found


def main() -> None:
    """Print what each takes; exit 1 where a limit is broken."""
    broken = False
    with tempfile.TemporaryDirectory() as folder:
        # Makes the bundled data sets.
        measure(["model=resnet18", "strategy=scratch", "dataset=digits,letters"], Path(folder))
        for axes in (FEW, MANY):
            choices = 1
            for axis in axes:
                choices *= 10 if "range" in axis else axis.count(",") + 1
            runs, found = measure([*axes, f"seed=range({-(-RUNS // choices)})"], Path(folder))
            broken |= commands.report(f"tlx train -m --dry-run {' '.join(axes)} of {runs} runs", found, LIMITS)
    sys.exit(broken)


if __name__ == "__main__":
    main()
