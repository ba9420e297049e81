"""What a search found, as an experiment: composed, it gives the very config that was found."""

from pathlib import Path

import pytest
import yaml

from tlx.config.composer import composer
from tlx.sweeps.best_yaml import experiment


@pytest.mark.parametrize(
    "words",
    [
        ["strategy=lora", "strategy.adapter.rank=4", "optimizer.lr=1e-4"],
        ["strategy=l2_sp", "strategy.objectives.0.alpha=0.3"],
        ["strategy=gradual_unfreezing", "strategy.objectives=[{_target_: tlx.objectives.l2_sp.L2SP, alpha: 2}]"],
    ],
)
def test_the_experiment_composes_what_was_found(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    with composer(str(tmp_path)) as compose:
        content, lost = experiment(compose, words)
        (tmp_path / "experiment/found.yaml").write_text("# @package _global_\n" + yaml.safe_dump(content))
        assert not lost and compose(["experiment=found"]).config == compose(words).config
