"""Loaders: exact resume in mid-epoch, augmentation that is new in every epoch and the same in every rerun."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from tlx.data.loaders import Examples, choose_workers, eval_loader, train_loader

COUNT = 41


class Sequences:
    """Examples are arrays of different lengths; augmentation adds noise; a batch is padded with zeros."""

    def key(self) -> str:
        return "sequences"

    def encode(self, raw: Any) -> Any:
        return raw

    def length(self, example: np.ndarray) -> int:
        return len(example)

    def augment(self, example: np.ndarray, augmentation: Any, rng: np.random.Generator) -> np.ndarray:
        return example + augmentation["noise"] * rng.standard_normal(len(example))

    def collate(self, examples: Sequence[np.ndarray]) -> dict[str, Tensor]:
        rows = [torch.as_tensor(e, dtype=torch.float32) for e in examples]
        return {"x": torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)}


def examples(seed: int = 0, augmentation: dict | None = None) -> Examples:
    data = [np.full(1 + (5 * i) % 17, float(i)) for i in range(COUNT)]
    return Examples(data, np.arange(COUNT) % 3, Sequences(), augmentation, seed)


def loader(workers: int = 0, seed: int = 0, buckets: bool = True) -> Any:
    return train_loader(examples(seed, {"noise": 0.1}), 8, seed, buckets, workers)


def epoch_of(loader: Any, epoch: int) -> list[dict[str, Tensor]]:
    loader.batch_sampler.set_epoch(epoch)
    return list(loader)


def same(one: list[dict[str, Tensor]], other: list[dict[str, Tensor]]) -> bool:
    return len(one) == len(other) and all(
        a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("done", [0, 1, 3, 5])
def test_saved_in_mid_epoch_yields_exactly_the_remaining_batches(workers: int, done: int) -> None:
    whole = epoch_of(loader(), 2)
    running = loader(workers)
    running.batch_sampler.set_epoch(2)
    iterator = iter(running)
    assert same([next(iterator) for _ in range(done)], whole[:done])
    state = running.state_dict()
    del iterator

    resumed = loader(workers)
    resumed.load_state_dict(state)
    rest = list(resumed)
    if done == len(whole):  # everything was seen: what comes next is the next epoch
        assert same(rest, epoch_of(loader(), 3))
    else:
        assert same(rest, whole[done:])
    assert same(epoch_of(resumed, 3), epoch_of(loader(), 3))


@pytest.mark.parametrize(("before", "after"), [(0, 2), (2, 0), (1, 2)])
def test_another_number_of_workers_takes_it_up_just_as_well(before: int, after: int) -> None:
    running = loader(before)
    running.batch_sampler.set_epoch(2)
    iterator = iter(running)
    first = [next(iterator) for _ in range(2)]
    state = running.state_dict()
    del iterator
    resumed = loader(after)
    resumed.load_state_dict(state)
    assert same(first + list(resumed), epoch_of(loader(), 2))
    assert resumed.num_workers == before, "the saved place is one among so many"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_finished_epoch_resumes_with_the_whole_next_one(workers: int) -> None:
    running = loader(workers)
    epoch_of(running, 4)
    resumed = loader(workers)
    resumed.load_state_dict(running.state_dict())
    assert same(epoch_of(resumed, 5), epoch_of(loader(), 5))


def test_the_state_is_plain_and_small() -> None:
    running = loader()
    next(iter(running))
    text = repr(running.state_dict())
    assert len(text) < 1000 and "tensor" not in text


@pytest.mark.parametrize("workers", [0, 2])
def test_a_pass_broken_off_is_followed_by_a_whole_one(workers: int) -> None:
    data = loader(workers)
    whole = list(data)
    for number, _ in enumerate(data):
        if number == 1:
            break
    assert same(list(data), whole)


def test_augmentation_differs_between_epochs_and_repeats_in_reruns_and_with_any_number_of_workers() -> None:
    def variants(workers: int, epoch: int, seed: int = 0) -> dict[int, Tensor]:
        batches = epoch_of(loader(workers, seed), epoch)
        return {int(i): x for b in batches for i, x in zip(b["index"], b["x"], strict=True)}

    first, again, parallel, later, other = (variants(*v) for v in ((0, 1), (0, 1), (2, 1), (0, 2), (0, 1, 7)))
    for i in range(COUNT):
        length = 1 + (5 * i) % 17
        assert torch.equal(first[i], again[i]) and torch.equal(first[i], parallel[i])
        assert not torch.equal(first[i][:length], later[i][:length])
        assert not torch.equal(first[i][:length], other[i][:length])
    # Neighbours draw differently too.
    noise = {round(float(first[i][0] - i), 6) for i in range(COUNT)}
    assert len(noise) == COUNT


def test_without_augmentation_and_in_evaluation_examples_are_untouched() -> None:
    data = examples(0, {"noise": 0.1})
    for batch in eval_loader(data, 8):
        for i, row in zip(batch["index"].tolist(), batch["x"], strict=True):
            assert torch.equal(row[: 1 + (5 * i) % 17], torch.full((1 + (5 * i) % 17,), float(i)))
    plain = train_loader(examples(), 8, 0, False)
    assert all(torch.equal(x[0], i.float()) for b in plain for x, i in zip(b["x"], b["index"], strict=True))


def test_evaluation_sees_every_example_once_in_a_fixed_order() -> None:
    data = eval_loader(examples(), 7)
    first, second = ([b["index"].tolist() for b in data] for _ in range(2))
    assert isinstance(data, DataLoader) and first == second
    assert sorted(i for b in first for i in b) == list(range(COUNT))


def test_evaluation_pads_little_where_batches_are_large_enough() -> None:
    lengths = [100] * 20 + [95] * 10 + [50] * 30 + [7, 6, 5, 4]
    data = Examples([np.zeros(n) for n in lengths], np.zeros(len(lengths)), Sequences())
    found = [[lengths[i] for i in batch["index"]] for batch in eval_loader(data, 28)]
    assert found == [[100] * 20 + [95] * 8, [95] * 2 + [50] * 14, [50] * 16, [7, 6, 5, 4]]
    alike = Examples([np.zeros(9)] * 60, np.zeros(60), Sequences())
    assert [len(batch["index"]) for batch in eval_loader(alike, 28)] == [28, 28, 4]


def test_labels_stay_with_their_examples() -> None:
    for batch in loader():
        assert torch.equal(batch["label"], batch["index"] % 3)


def test_workers_only_where_they_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def many(augmentation: dict | None, count: int = 2000) -> Examples:
        return Examples([0] * count, np.zeros(count), Sequences(), augmentation)

    augmented = many({"noise": 0.1})
    for threads, expected in ((1, 0), (2, 0), (4, 1), (8, 3), (64, 4)):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=threads: n)
        assert choose_workers(None, augmented, "image") == expected
        assert choose_workers(5, augmented, "image") == 5 and choose_workers(0, augmented, "image") == 0
    assert choose_workers(None, many(None), "image") == 0, "there is nothing to do but to stack"
    assert choose_workers(None, many({"noise": 0.1}, 500), "image") == 0
    assert choose_workers(None, augmented, "audio") == choose_workers(None, augmented, "text") == 0
