"""A run ends where it finds other contents than it was planned with; what it was planned with is what it trains on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tlx import train
from tlx.sweeps import in_process

TEXTS = ["model=tiny_text", "model.path=null", "model.tokenizer.vocab_size=300", "dataset=local_text"]


@pytest.fixture
def exchange(write_texts) -> tuple[Path, Callable[[], None]]:
    """A folder of texts, and a function that exchanges the labels of their test part."""
    folder = write_texts()

    def act() -> None:
        test = folder / "test.csv"
        text = test.read_text().replace(",pos", ",PPP").replace(",neg", ",pos").replace(",PPP", ",neg")
        test.write_text(text)

    return folder, act


def after_first(monkeypatch: pytest.MonkeyPatch, place: object, name: str, act: Callable[[], None]) -> None:
    """Call `act` after the first call of a function."""
    real, calls = getattr(place, name), []

    def instead(*given, **named):
        result = real(*given, **named)
        if not calls:
            act()
        calls.append(name)
        return result

    monkeypatch.setattr(place, name, instead)


def test_data_replaced_between_two_seeds(tlx, exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, act = exchange
    after_first(monkeypatch, in_process, "do_job", act)
    words = [*TEXTS, f"dataset.path={folder}", "strategy=scratch", "-m", "seed=0,1", "study=texts"]
    outcome = tlx.train(*words)
    assert outcome.code == 1 and "a bug?" not in outcome.err
    first, second = tlx.records("texts")
    assert [first["status"], second["status"]] == ["completed", "failed"]
    assert second["error"]["type"] == "ContentsChanged" and not second["metrics"]
    assert "the data set (data: " in second["error"]["message"] and "weights" not in second["error"]["message"]
    assert "plans it anew" in outcome.err
    # The same command then makes other runs: nothing of the two is one cell.
    monkeypatch.undo()
    assert tlx.train(*words).code == 0
    again = [record for record in tlx.records("texts") if record["status"] == "completed"]
    assert len(again) == 3 and len({record["cell"] for record in again}) == 2


def test_data_replaced_among_heads_that_are_trained_together(tlx, tmp_path: Path, monkeypatch) -> None:
    import pandas as pd
    from sklearn.datasets import load_digits

    digits = load_digits()
    folder = tmp_path / "digits"
    folder.mkdir()

    def write(labels) -> None:
        pixels = [row.reshape(8, 8).astype("uint8") * 16 for row in digits.images[:120]]
        frame = pd.DataFrame({"image": [_png(p) for p in pixels], "label": labels[:120]})
        frame.to_parquet(folder / "all.parquet")

    write(digits.target)
    after_first(monkeypatch, train, "assemble", lambda: write(digits.target[::-1]))
    # check_runs assembles, too: what is replaced is replaced between the first and the second run of the job.
    monkeypatch.setattr("tlx.sweeps.prepare.check_runs", lambda runs: None)
    words = ["dataset=local_image", f"dataset.path={folder}", "strategy=feature_extraction", "-m", "seed=0,1"]
    assert tlx.train(*words, "dataset.train_size=null", "study=heads").code == 1
    assert {record["error"]["type"] for record in tlx.records("heads") if record["error"]} == {"ContentsChanged"}
    assert not [record for record in tlx.records("heads") if record["metrics"]]


def test_weights_replaced_before_a_run_that_is_gone_on_with(tlx, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    from tlx.config.composer import composer
    from tlx.errors import UserError
    from tlx.identity import ContentsChanged, check_contents
    from tlx.sweeps.study import plan_run

    shutil.copytree(
        tlx.registry / "tiny_vision", tmp_path / "model", ignore=shutil.ignore_patterns("card.json", "head*")
    )
    with composer() as compose:
        run = plan_run(compose([*tlx.quick, f"model.path={tmp_path / 'model'}"]))
    check_contents(run.config)
    file = tmp_path / "model/backbone.safetensors"
    tensors = load_file(file)
    next(iter(tensors.values())).view(-1)[0] += 1
    save_file(tensors, file)
    with pytest.raises(ContentsChanged, match=r"the weights that it starts from \(weights: \w{10} → \w{10}\)"):
        check_contents(run.config)
    with pytest.raises(ContentsChanged):
        train.run(run.config, run.folder)
    file.unlink()
    with pytest.raises(UserError):
        check_contents(run.config)


def _png(pixels) -> bytes:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()
