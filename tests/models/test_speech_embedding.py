"""The speech embedding against the reference outputs; batches, short clips, and a linear probe on real speech."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tlx.errors import UserError
from tlx.layer_groups import group_layers
from tlx.models.backbone import load_tensors
from tlx.models.speech_embedding import FRAMES, SHORTEST, STRIDE, LogMel, SpeechEmbedding, features, layer_groups
from tlx.models.weights import read_state_dict
from tlx.plan import ParameterPlan

DATA = Path(__file__).resolve().parents[2] / "../shared/data"
WEIGHTS = DATA / "weights/google_speech_embedding.safetensors"
needs_weights = pytest.mark.skipif(not WEIGHTS.is_file(), reason="no ../shared/data/weights")


def pretrained(silence=0.5):
    net = SpeechEmbedding(silence)
    assert load_tensors(net, read_state_dict(WEIGHTS), WEIGHTS).share == 1.0
    return net.eval()


@pytest.fixture(scope="module")
def reference():
    found = np.load(DATA / "weights/reference_outputs.npz")
    return {name: torch.from_numpy(found[name]) for name in found.files if name.startswith("speech_embedding")}


def batch_of(clips):
    values, mask = torch.zeros(len(clips), max(map(len, clips))), torch.zeros(len(clips), max(map(len, clips))).long()
    for row, clip in enumerate(clips):
        values[row, : len(clip)], mask[row, : len(clip)] = clip, 1
    return {"input_values": values, "attention_mask": mask}


def test_golden_groups():
    net = SpeechEmbedding()
    groups = group_layers(net, layer_groups(net))
    assert [g.name for g in groups] == ["stem", *(f"pair{i}" for i in range(9)), "projection"]
    plan = ParameterPlan.of(net, groups)
    assert [sorted({r["name"].split(".")[0] for r in plan.rows(net) if r["group"] == g.name}) for g in groups][:3] == [
        ["conv0"],
        ["conv1", "conv2"],
        ["conv3", "conv4"],
    ]
    assert sum(r["size"] for r in plan.rows(net)) == 328_128
    assert groups[-1].parameters == ("conv19.weight",)


def test_the_front_end_has_nothing_to_train_or_to_save():
    front = LogMel()
    assert not list(front.parameters())
    assert not front.state_dict()


@needs_weights
def test_mel_and_embeddings_equal_the_reference(reference):
    net = pretrained()
    wave = reference["speech_embedding_wav_int16_16k"][None] / 32768
    with torch.no_grad():
        mel = net.mel(wave, torch.tensor([97]))
        embeddings = net.embed(mel)
    torch.testing.assert_close(mel[0], reference["speech_embedding_mel"], atol=1e-4, rtol=0)
    expected = reference["speech_embedding_output"]  # of the first two windows
    torch.testing.assert_close(embeddings[0, : len(expected)], expected, atol=1e-3, rtol=0)


@needs_weights
def test_a_clip_counts_with_all_windows_in_it(reference):
    net = pretrained(silence=0)
    wave = reference["speech_embedding_wav_int16_16k"][None] / 32768
    with torch.no_grad():
        windows = reference["speech_embedding_mel"].unfold(0, FRAMES, STRIDE).transpose(1, 2)
        one_by_one = net.embed(windows)[:, 0]
        assert one_by_one.shape == (3, 96)
        torch.testing.assert_close(net(wave)[0], one_by_one.mean(0), atol=1e-3, rtol=0)


@given(
    lengths=st.lists(st.integers(1, 40_000), min_size=1, max_size=4),
    silence=st.sampled_from([0.0, 0.1, 0.5]),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=15)
def test_the_rest_of_the_batch_does_not_change_a_clip(lengths, silence, seed):
    torch.manual_seed(seed)
    net = SpeechEmbedding(silence).eval()
    # Loudness differs by orders of magnitude, so that a floor taken over the batch would show.
    clips = [torch.randn(n) * 10.0 ** -torch.randint(0, 4, ()) for n in lengths]
    with torch.no_grad():
        together = features(net, batch_of(clips))
        assert together.shape == (len(clips), 96)
        for clip, vector in zip(clips, together, strict=True):
            torch.testing.assert_close(net(clip[None])[0], vector, atol=1e-4, rtol=1e-4)


def test_what_lies_under_the_padding_does_not_matter():
    net = SpeechEmbedding().eval()
    batch = batch_of([torch.randn(5_000), torch.randn(20_000)])
    clean = features(net, batch)
    batch["input_values"][0, 5_000:] = 1e3
    torch.testing.assert_close(features(net, batch), clean)


def test_short_clips_are_padded_to_one_window():
    net = SpeechEmbedding(silence=0).eval()
    clip = torch.randn(1, 3_000)
    padded = torch.nn.functional.pad(clip, (0, SHORTEST - 3_000))
    torch.testing.assert_close(net(clip), net(padded))
    assert torch.isfinite(net(torch.zeros(1, 1))).all()


def test_half_precision_training_keeps_the_front_end_in_float32():
    net = SpeechEmbedding()
    wave = torch.rand(2, 16_000) * 2 - 1
    frames = torch.tensor([97, 97])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(net.mel(wave, frames), LogMel()(wave, frames))
        net(wave).square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())
    assert net.bfloat16()(wave.bfloat16()).isfinite().all()


def test_negative_silence_is_refused():
    with pytest.raises(UserError, match="cannot last -1 seconds"):
        SpeechEmbedding(silence=-1)


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "bengali_digits").is_dir(), reason="no ../shared/data/bengali_digits")
def test_linear_probe_on_bengali_digits():
    import pandas as pd
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from tlx.data.audio import AudioPreprocessing

    preprocessing = AudioPreprocessing(sample_rate=16_000, max_seconds=10.0, normalize=False)
    net = pretrained()

    def encoded(split):
        table = pd.read_parquet(DATA / f"bengali_digits/{split}.parquet")
        found = []
        for start in range(0, len(table), 32):
            batch = preprocessing.collate([preprocessing.encode(raw) for raw in table["audio"][start : start + 32]])
            with torch.no_grad():
                found.append(features(net, batch))
        return torch.cat(found).numpy(), table["label"].to_numpy()

    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=3000)).fit(*encoded("train"))
    assert probe.score(*encoded("test")) >= 0.9  # 0.935 measured; 0.74 without the silence around the clips
