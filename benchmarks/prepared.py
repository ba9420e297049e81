"""What it saves a run that examples are encoded once for all: seconds and memory, against encoding them in each run.

`make bench` runs this. All parts of a data set are encoded on one thread, then the training part is gone through once,
in random order. Every measurement has a process of its own; the ways take turns. Memory is what the process holds for
itself alone (RssAnon) at the end beyond the beginning, and what it has mapped of files (RssFile): the system takes that
back when it needs it, and runs at the same time share it.

The environment names what it needs: TLX_MINILM the folder of all-MiniLM-L6-v2, TLX_DATA the one that holds `trec`,
`caltech20`, `cifar10`, `fsdd` and `esc10`.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import soundfile  # noqa: F401  (a run has imported what it encodes with before it does)
import timm.data.transforms_factory  # noqa: F401
import torchaudio.functional  # noqa: F401
import transformers
from finetuning import DATA, MINILM, alone, spread

from tlx.data.audio import AudioPreprocessing
from tlx.data.dataset import Dataset, encode
from tlx.data.image import ImagePreprocessing
from tlx.data.prepared import prepare_part
from tlx.data.text import TextPreprocessing

REPEATS = 3
HALF = [0.5] * 3


def texts() -> TextPreprocessing:
    """As MiniLM wants them."""
    return TextPreprocessing(transformers.AutoTokenizer.from_pretrained(MINILM), 128)


# data set -> (its modality, how it is encoded)
SETS: dict[str, tuple[str, Callable[[], Any]]] = {
    "trec": ("text", texts),
    "caltech20": ("image", lambda: ImagePreprocessing((128, 128), HALF, HALF)),
    "cifar10": ("image", lambda: ImagePreprocessing((128, 128), HALF, HALF)),
    "fsdd": ("audio", lambda: AudioPreprocessing(16000, 10.0)),
    "esc10": ("audio", lambda: AudioPreprocessing(16000, 10.0)),
}
WAYS = ("in each run", "first run", "later run")


def held() -> dict[str, int]:
    """This process's resident memory in bytes, by kind."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {words[0][:-1]: int(words[1]) * 1024 for words in lines if words[0] in ("RssAnon:", "RssFile:")}


def measure(name: str, way: str, cache: Path) -> dict[str, float]:
    """Seconds to prepare and to go through once, and bytes held for it."""
    modality, make = SETS[name]
    columns = {"input": modality, "label": "label"}
    data = Dataset(modality, path=str(DATA.parent / name), columns=columns).load(0, cache)
    preprocessing = make()
    preprocessing.encode(data.test.inputs[0])
    config = {"paths": {"cache": str(cache)}, "model": {"modality": modality}, "cache_limit": 20}
    before, began = held(), time.perf_counter()
    if way == "in each run":
        parts: Any = {part: encode(getattr(data, part), preprocessing) for part in ("train", "validation", "test")}
    else:
        parts = {name: prepare_part(config, data, name, preprocessing) for name in ("train", "validation", "test")}
    seconds, began = time.perf_counter() - began, time.perf_counter()
    for position in np.random.default_rng(0).permutation(len(parts["train"])):
        preprocessing.length(parts["train"][position])
    once = time.perf_counter() - began
    return {"prepare": seconds, "pass": once} | {kind: size - before[kind] for kind, size in held().items()}


def main() -> None:
    """Print medians and ranges; write benchmarks/prepared.json."""
    if not (MINILM / "config.json").is_file() or not DATA.is_dir():
        print("encoding is not measured: TLX_MINILM must name MiniLM's folder, TLX_DATA the one that holds trec.")
        return
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    found: dict[str, dict[str, list[dict[str, float]]]] = {name: {way: [] for way in WAYS} for name in SETS}
    for name in SETS:
        for _ in range(REPEATS):
            with tempfile.TemporaryDirectory() as folder:
                for way in WAYS:
                    found[name][way].append(alone(f"{name}, {way}", partial(measure, name, way, Path(folder))))
    print(f"encoding a data set, {os.cpu_count()} cores, one thread, {REPEATS} repetitions, median (range)")
    print(f"{'':24}{'seconds':>28}{'a pass':>10}{'own memory':>14}{'mapped':>12}  in each run ÷ this")
    for name, ways in found.items():
        for way, ones in ways.items():
            ratios = [a["prepare"] / b["prepare"] for a, b in zip(ways["in each run"], ones, strict=True)]
            own, mapped = (median(one[kind] for one in ones) / 1e6 for kind in ("RssAnon", "RssFile"))
            print(
                f"{f'{name}, {way}':24}{spread([one['prepare'] for one in ones], 3):>28}"
                f"{median(one['pass'] for one in ones):>10.3f}{own:>11.0f} MB{mapped:>9.0f} MB  {spread(ratios, 1)}"
            )
    Path("benchmarks/prepared.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
