"""Every model yaml with its frozen layers played back: the same logits as computed; cold, warm and refilled alike."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tlx.cache import frozen_work
from tlx.cache.frozen_work import FrozenWork
from tlx.cache.stores import clear
from tlx.data.loaders import Examples
from tlx.strategies.freezing import FrozenBackbone, Gradual, Partial
from tlx.strategies.strategy import TransferStrategy

NAMES = sorted(p.stem for p in (Path(__file__).resolve().parents[2] / "configs" / "model").glob("*.yaml"))
STRATEGIES = {
    "feature_extraction": lambda: TransferStrategy(freezing=FrozenBackbone()),
    "partial": lambda: TransferStrategy(freezing=Partial(ratio=0.6)),
    "gradual_unfreezing": lambda: TransferStrategy(freezing=Gradual()),
}
# Group normalisation over the whole padded clip: what such an encoder makes of a clip depends on the longest beside it.
NORMALISED_OVER_PADDING = {"wav2vec2_base", "hubert_base", "wavlm_base", "speech_encoder"}
BATCHES = [[0, 1, 2, 3, 4], [5, 9, 3], [7]]


@pytest.fixture(autouse=True)
def _small_networks_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen_work, "WORTH", {"cpu": 0.0})


def test_all_model_yamls_are_found() -> None:
    assert len(NAMES) >= 22 and set(NAMES) >= NORMALISED_OVER_PADDING


@pytest.mark.parametrize(
    "strategy", [pytest.param(s, marks=pytest.mark.slow if s == "gradual_unfreezing" else ()) for s in STRATEGIES]
)
@pytest.mark.parametrize("name", NAMES)
def test_as_computed(contract, tmp_path: Path, name: str, strategy: str) -> None:
    backbone = contract.build(name)
    module = contract.plan(backbone, STRATEGIES[strategy]()).eval()
    encoded = [backbone.preprocessing.encode(raw) for raw in contract.raw(backbone, 10)]
    examples = Examples(encoded, np.zeros(10, np.int64), backbone.preprocessing)
    batches = [examples.collate([examples[i] for i in batch]) for batch in BATCHES]

    def logits(work: FrozenWork) -> list[torch.Tensor]:
        with torch.no_grad():
            return [work.logits(batch, "train") for batch in batches]

    def run(phase: int) -> tuple[FrozenWork, list[torch.Tensor]]:
        work = FrozenWork(module, module.plan, {"train": examples}, tmp_path, "on", 10**9)
        work.enter(phase)
        return work, logits(work)

    with torch.no_grad():
        computed = [module(batch) for batch in batches]
    for phase in sorted({0, len(module.plan.phases) // 2, len(module.plan.phases) - 1}):
        cold, first = run(phase)
        warm, second = run(phase)
        clear(tmp_path)
        refilled, third = run(phase)
        assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(first, second, third, strict=True))
        for a, b in zip(computed, first, strict=True):
            torch.testing.assert_close(b, a, rtol=0, atol=1e-5 * float(a.abs().max()))
        frozen = cold.depths[phase] > 0
        assert cold.summary()["used"] == (frozen and name not in NORMALISED_OVER_PADDING), cold.summary()
        if cold.summary()["used"]:
            assert warm.encoded == 0 and refilled.encoded == 10
        else:
            assert cold.reasons
