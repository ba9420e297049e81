"""Where a training's time goes: every second in one part, the right one, and nothing else of the run changes."""

import time
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tlx.fit.checkpoints import ResumePoint
from tlx.fit.time_profile import PARTS, TimeProfile
from tlx.processes.interruption import Interruption

STEPS, SLEEP = 4, 0.02  # seconds


class Slow(torch.utils.data.Dataset):
    """Takes its time for each example, which is a batch."""

    def __init__(self, count: int, sleep: float) -> None:
        self.count, self.sleep = count, sleep

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        time.sleep(self.sleep)
        return torch.ones(3)


class Sleepy(L.LightningModule):
    """Sleeps once in each part of a step: 1 unit forward, 2 backward, 3 in the optimiser, 1 a validation batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        time.sleep(SLEEP)
        loss = self.layer(batch).sum()
        loss.register_hook(lambda gradient: time.sleep(2 * SLEEP))
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        time.sleep(SLEEP)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(self.parameters(), 0.1)
        optimizer.register_step_post_hook(lambda *_: time.sleep(3 * SLEEP))
        return optimizer


class Pause(L.Callback):
    """Sleeps 2 units after each step, and in the validation, where its time is a callback's all the same."""

    def on_train_batch_end(self, *args: Any) -> None:
        time.sleep(2 * SLEEP)

    def on_validation_end(self, *args: Any) -> None:
        time.sleep(SLEEP)

    def on_save_checkpoint(self, *args: Any) -> None:
        time.sleep(3 * SLEEP)


def test_each_second_is_in_its_part(tmp_path) -> None:
    profile = TimeProfile()
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=1,
        callbacks=[Pause(), ModelCheckpoint(tmp_path)],
        profiler=profile,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    module = Sleepy()
    began = time.monotonic()
    profile.begin()
    # With one batch ahead of the step, the first is fetched before the training begins.
    trainer.fit(module, DataLoader(Slow(STEPS, SLEEP)), DataLoader(Slow(2, SLEEP)))
    found = profile.seconds()
    assert sum(found.values()) == pytest.approx(time.monotonic() - began, abs=0.01)
    expected = {
        "data": STEPS - 1,
        "forward": STEPS,
        "backward": 2 * STEPS,
        "optimiser": 3 * STEPS,
        "callbacks": 2 * STEPS + 1,
        "checkpoint": 3,
        "validation": 2 + 2,
    }
    for name, units in expected.items():
        assert found[name] / SLEEP > units - 0.1, (name, found)  # none lacks its own: all sleep is shared out


def test_the_parts_of_a_run_add_up_and_its_result_is_the_same(tlx) -> None:
    words = ("trainer.max_epochs=20", "strategy=gradual_unfreezing")
    shown = tlx.train(*words, "profile=true")
    assert shown.code == 0, shown.err
    (record,) = tlx.records()
    seconds = record["seconds"]
    assert list(seconds["profile"]) == list(PARTS) and all(spent >= 0 for spent in seconds["profile"].values())
    assert sum(seconds["profile"].values()) == pytest.approx(seconds["train"], rel=0.02)
    assert all(seconds["profile"][name] > 0 for name in PARTS)
    lines = shown.out.splitlines()
    assert [line.split()[0] for line in lines[2:-1]] == ["training", *PARTS, "together"]
    assert lines[-1].startswith("of the run's")

    plain = tlx.record(*words, "force=true")  # the same folder: profiling is not part of the identity
    assert plain["identity"] == record["identity"] and plain["attempt"] == 2
    assert plain["metrics"] == record["metrics"] and plain["checkpoint"] == record["checkpoint"]
    assert "profile" not in plain["seconds"]


def test_a_finished_run_says_how_to_profile_it_and_a_sweep_profiles_each_run(tlx) -> None:
    assert tlx.train("seed=0").code == 0
    shown = tlx.train("seed=0", "profile=true")
    assert shown.code == 0
    assert shown.err == "tlx: the run is finished and not done again; force=true profiles it again.\n"
    assert "together" not in shown.out
    shown = tlx.train("-m", "seed=0,1", "profile=true")
    assert shown.code == 0 and "1 of 2 runs are finished and not done again; force=true" in shown.err
    assert [("profile" in record["seconds"]) for record in tlx.records()] == [False, True]
    shown = tlx.train("-m", "seed=0,1", "profile=true", "force=true")
    assert shown.code == 0 and "finished" not in shown.err
    assert all("profile" in record["seconds"] for record in tlx.records())


@pytest.mark.parametrize("profiled", [True, False])
def test_a_resumed_training_counts_the_sittings_before(tmp_path, profiled: bool) -> None:
    with Interruption() as interruption:
        first = ResumePoint(tmp_path, 60, interruption, TimeProfile() if profiled else None)
        time.sleep(0.02)
        saved = first.state_dict()
        profile = TimeProfile()
        second = ResumePoint(tmp_path, 60, interruption, profile)
        second.load_state_dict(saved)
        assert sum(profile.seconds().values()) == pytest.approx(second.seconds, abs=0.005)
        assert ("not profiled" in profile.seconds()) is not profiled
        ResumePoint(tmp_path, 60, interruption).load_state_dict(saved)  # a profile is no condition of going on


def test_what_is_left_open_by_an_exception_is_closed() -> None:
    profile = TimeProfile()
    with pytest.raises(ValueError), profile.profile("run_training_batch"):
        profile.start("[Strategy]SingleDeviceStrategy.backward")
        raise ValueError
    profile.begin()
    time.sleep(0.01)
    found = profile.seconds()
    assert found["other"] >= 0.01 and found["backward"] == 0


def test_a_word_that_is_no_choice_is_refused(tlx) -> None:
    assert "profile=maybe is not allowed: give true or false" in tlx.train("profile=maybe").complaint
