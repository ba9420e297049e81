"""How time and memory of tlx grow with seeds, strategies, examples, layers, and the share of a network that is trained.

`make bench` runs this. Every point is measured in a process of its own with an empty cache, from resolved configs to
records; memory is what the process came to hold at its peak beyond what it began with. Two numbers are fitted by least
squares: the exponent b of seconds = a · n^b on logarithms, and, of the seeds, what one more costs as a share of a run.

Seeds: probes of MiniLM on TREC; trained blocks: its upper ones, batches of 64 of 1,000 questions (see
`benchmarks/warm.py`; left out without). Strategies: a small ViT on images. Examples and layers: a probe of that ViT,
where pixels and weights are random, which changes no time.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from rows import REPETITIONS, alone, spread, write
from safetensors.torch import save_file
from warm import TREC, carry_out, missing, planned

SEEDS, STRATEGIES, EXAMPLES, LAYERS = (1, 2, 5, 10, 20), (1, 2, 4, 8), (1000, 3000, 10_000, 50_000), (6, 12, 18, 24)
BLOCKS = (1, 2, 4, 6)  # of the six of MiniLM
MENU = ("feature_extraction", "partial", "gradual_unfreezing", "lp_ft", "full", "discriminative", "mixout", "ulmfit")
SIZE, CLASSES = 32, 4
VIT = {"patch_size": 8, "embed_dim": 64, "num_heads": 4, "img_size": SIZE, "depth": 6}
EACH = ["trainer.max_epochs=2"]


def peak() -> int:
    """The most memory that this process has held, in bytes, since `forget_peak`."""
    return _status("VmHWM")


def forget_peak() -> int:
    """Begin to look for the peak anew; what is held now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key + ":")) * 1024


def point(words: Callable[[Path], Sequence[str]], seeds: int = 1, strategies: Sequence[str] = MENU[:1]) -> Any:
    """Seconds and bytes of the runs of these words, every strategy with every seed."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        given = [*words(folder), *EACH]
        runs = [planned([*given, f"strategy={s}"], seed, folder) for s in strategies for seed in range(seeds)]
        held, began = forget_peak(), time.perf_counter()
        carry_out(runs)
        return time.perf_counter() - began, peak() - held


def probes(folder: Path) -> list[str]:
    """MiniLM on TREC."""
    return TREC


def upper(blocks: int, folder: Path) -> list[str]:
    """So many of the upper blocks of MiniLM trained, for a thousand questions of TREC."""
    below = f"layer{6 - blocks}" if blocks < 6 else "embeddings"
    frozen = [f"strategy.freezing.until={below}", "strategy.freezing.ratio=null"]
    return [*TREC, "dataset.train_size=1000", "trainer.batch_size=64", *frozen]


def images(count: int, depth: int, folder: Path) -> list[str]:
    """A ViT of so many layers, and so many training images, made in the folder."""
    rng, data = np.random.default_rng(0), folder / "images"
    data.mkdir()
    for name, size in (("train", count), ("validation", 200), ("test", 200)):
        pixels = rng.integers(0, 256, (size, SIZE, SIZE, 3), np.uint8)
        np.savez(data / f"{name}.npz", image=pixels, label=np.arange(size) % CLASSES)
    torch.manual_seed(0)
    options = VIT | {"depth": depth}
    save_file(
        timm.create_model("vit_tiny_patch16_224", num_classes=0, **options).state_dict(), folder / "vit.safetensors"
    )
    further = [f"+model.options.{key}={value}" for key, value in options.items() if key != "img_size"]
    return [
        *("model=timm", "model.arch=vit_tiny_patch16_224", f"model.path={folder / 'vit.safetensors'}"),
        *(f"model.size={SIZE}", f"+model.options.img_size={SIZE}", *further),
        *("dataset=local_image", f"dataset.path={data}", "trainer.batch_size=64"),
    ]


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """b of value = a · size^b, by least squares on the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def curves() -> dict[str, tuple[Sequence[int], Callable[[int], Any]]]:
    """What grows: its sizes, and the measurement at one."""
    found: dict[str, tuple[Sequence[int], Callable[[int], Any]]] = {
        "strategies": (STRATEGIES, lambda n: point(partial(images, 500, 6), strategies=MENU[:n])),
        "examples": (EXAMPLES, lambda n: point(partial(images, n, 6))),
        "layers": (LAYERS, lambda n: point(partial(images, 5000, n))),
    }
    if lacking := missing("trec", minilm=True):
        print(f"seeds and trained blocks are not measured: {lacking}")
        return found
    found["trained blocks"] = BLOCKS, lambda n: point(partial(upper, n), strategies=["partial"])
    return {"seeds": (SEEDS, lambda n: point(probes, seeds=n)), **found}


def main() -> None:
    """Print the curves with their exponents; write benchmarks/growth.json. One repetition, several with --full."""
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    repetitions = REPETITIONS if "--full" in sys.argv[1:] else 1
    print(f"growth: one thread, {repetitions} repetitions; median (range)")
    written: dict[str, Any] = {}
    for name, (sizes, measure) in curves().items():
        found: dict[int, list[tuple[float, int]]] = {n: [] for n in sizes}
        for _ in range(repetitions):
            for n in sizes:
                found[n].append(alone(f"{n} {name}", partial(measure, n)))
                print(f"{n} {name}: {found[n][-1][0]:.2f} s", file=sys.stderr, flush=True)
        seconds = [[found[n][i][0] for n in sizes] for i in range(repetitions)]
        memory = [[found[n][i][1] for n in sizes] for i in range(repetitions)]
        print(f"\n{name:>14}{'seconds':>28}{'MB at the peak':>28}")
        for i, n in enumerate(sizes):
            print(f"{n:14,}{spread([s[i] for s in seconds], 2):>28}{spread([m[i] / 1e6 for m in memory], 0):>28}")
        fits = {
            "exponent of time": [exponent(sizes, s) for s in seconds],
            "exponent of memory": [exponent(sizes, m) for m in memory],
        }
        if name == "seeds":
            fits["of a run for each further seed (goal < 0.05)"] = [np.polyfit(sizes, s, 1)[0] / s[0] for s in seconds]
        for word, values in fits.items():
            print(f"  {word}: {spread(values, 3)}")
        written[name] = {"sizes": sizes, "seconds": seconds, "bytes": memory, "fits": fits}
        write("growth", written)


if __name__ == "__main__":
    main()
