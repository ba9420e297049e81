"""Reading weights: every format, every wrapper, and nothing that could run code."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from tlx.errors import UserError
from tlx.models.backbone import load_tensors
from tlx.models.weights import FILES, PREFIXES, find_weights, fit_names, read_json, read_state_dict
from tlx.registry.weight_files import weights_hash

TENSORS = {"conv.weight": torch.arange(6.0).reshape(2, 3), "conv.bias": torch.tensor([1.0, -1.0])}


def write(file: Path, tensors=TENSORS) -> Path:
    if file.suffix == ".safetensors":
        save_file(tensors, file)
    elif file.suffix == ".npz":
        np.savez(file, **{name: tensor.numpy() for name, tensor in tensors.items()})
    else:
        torch.save(tensors, file)
    return file


def equal(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt", ".pth", ".th", ".bin", ".ckpt"])
def test_every_format_gives_the_same_tensors(tmp_path, suffix):
    assert equal(read_state_dict(write(tmp_path / f"weights{suffix}")), TENSORS)


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
def test_tensors_nested_in_a_training_checkpoint(tmp_path, key):
    file = tmp_path / "last.ckpt"
    torch.save({"epoch": 3, key: TENSORS, "optimizer": {"state": {}}, "best": 0.5}, file)
    assert equal(read_state_dict(file), TENSORS)


@given(st.lists(st.sampled_from(PREFIXES), max_size=4))
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_prefixes_of_wrappers_are_removed_in_any_order(tmp_path, prefixes):
    file = write(tmp_path / "w.pt", {"".join(prefixes) + name: t for name, t in TENSORS.items()})
    assert equal(read_state_dict(file), TENSORS)


def test_a_prefix_that_not_all_names_have_stays(tmp_path):
    mixed = {"module.a": torch.zeros(1), "b": torch.zeros(1)}
    assert read_state_dict(write(tmp_path / "w.pt", mixed)).keys() == mixed.keys()


def test_what_is_not_a_tensor_is_left_out(tmp_path):
    file = tmp_path / "w.pt"
    torch.save({**TENSORS, "classes": ["a", "b"], 3: torch.zeros(1), "best_prec1": 91.7}, file)
    assert equal(read_state_dict(file), TENSORS)


class Payload:
    """Unpickling it creates a file, as an attacker's object could do anything."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


@pytest.mark.parametrize("nested", [False, True])
def test_a_pickle_with_arbitrary_objects_is_refused_and_not_run(tmp_path, nested):
    file, ran = tmp_path / "evil.pth", tmp_path / "ran"
    torch.save({"state_dict": {"a": Payload(ran)}} if nested else Payload(ran), file)
    with pytest.raises(UserError, match="was refused"):
        read_state_dict(file)
    assert not ran.exists()
    torch.load(file, weights_only=False)
    assert ran.exists()  # the payload works: it was only not asked


def test_an_npz_with_objects_is_refused(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.array([{"x": 1}], dtype=object))
    with pytest.raises(UserError, match="was refused"):
        read_state_dict(tmp_path / "w.npz")


def test_a_whole_pickled_network_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "net.pt")
    with pytest.raises(UserError, match="Save it as safetensors"):
        read_state_dict(tmp_path / "net.pt")


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt"])
@pytest.mark.parametrize(
    "content", [b"", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", b"cut"]
)
def test_a_damaged_file_is_a_readable_error(tmp_path, suffix, content):
    file = tmp_path / f"damaged{suffix}"
    file.write_bytes(write(tmp_path / f"w{suffix}").read_bytes()[:-40] if content == b"cut" else content)
    with pytest.raises(UserError, match=r"damaged\.\w+ (was refused|cannot be read)"):
        read_state_dict(file)


@pytest.mark.parametrize("content", [torch.zeros(3), [torch.zeros(3)], 1.0])
def test_a_file_without_names_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(UserError, match="holds no tensors by name"):
        read_state_dict(tmp_path / "w.pt")


def test_missing_and_unknown_files(tmp_path):
    with pytest.raises(UserError, match="no such weights file or folder"):
        read_state_dict(tmp_path / "absent.pt")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=r"cannot read weights from 'notes\.txt': known endings are \.safetensors"):
        read_state_dict(tmp_path / "notes.txt")
    with pytest.raises(UserError, match=r"no weights file in .*: looked for backbone\.safetensors"):
        read_state_dict(tmp_path)


def test_in_a_folder_safetensors_go_first(tmp_path):
    for name in reversed(FILES):
        write(tmp_path / name)
        assert find_weights(tmp_path) == tmp_path / name


def test_names_that_a_network_has_with_a_wrappers_prefix_are_found_again():
    tensors = {"conv.weight": torch.zeros(1)}
    for prefix in PREFIXES:
        assert fit_names(tensors, [f"{prefix}conv.weight"]).keys() == {f"{prefix}conv.weight"}
    assert fit_names(tensors, ["conv.weight", "model.conv.weight"]) == tensors
    assert fit_names(tensors, ["other"]) == tensors


def test_batch_counters_missing_from_old_files_start_at_zero():
    norm = torch.nn.Sequential(torch.nn.BatchNorm1d(2))
    norm(torch.randn(4, 2))
    old = {n: t for n, t in norm.state_dict().items() if not n.endswith("num_batches_tracked")}
    names = list(norm.state_dict())
    found = fit_names(old, names)
    assert load_tensors(norm, found, Path("old.th")).share == 1.0
    assert norm[0].num_batches_tracked == 0
    assert "0.num_batches_tracked" not in old
    assert fit_names({}, names) == {}  # nothing is made up where the rest of the norm is missing, too


def test_a_checkpoint_of_another_architecture_is_refused_and_changes_nothing():
    net = torch.nn.Linear(3, 2)
    before = net.weight.detach().clone()
    with pytest.raises(
        UserError, match=r"only 50% .* Missing: weight\. .*weight \(\(2, 4\) in the file, \(2, 3\) here\)"
    ):
        load_tensors(net, {"weight": torch.zeros(2, 4), "bias": torch.zeros(2)}, Path("other.pt"))
    assert torch.equal(net.weight, before)


def test_json_beside_the_weights(tmp_path):
    file = tmp_path / "config.json"
    assert read_json(file) == {}
    file.write_text(json.dumps({"a": 1}))
    assert read_json(file) == {"a": 1}
    file.write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        read_json(file)


def test_what_lies_beside_a_file_of_weights_and_shapes_the_inputs_is_part_of_its_content(tmp_path: Path) -> None:
    """With model.path=FOLDER/model.safetensors, another vocabulary beside it was the same run."""
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"weights")
    weights = weights_hash(file, None)
    assert weights_hash(file, None, weights=False) == ""
    seen = set()
    for name, text in (("tokenizer.json", "{}"), ("tokenizer.json", '{"a": 1}'), ("config.json", "{}")):
        (tmp_path / name).write_text(text)
        seen.add(weights_hash(file, None, weights=False))
    assert len(seen) == 3
    (tmp_path / "other.json").write_text("{}")  # not read by anybody
    assert weights_hash(file, None, weights=False) in seen
    assert weights_hash(file, None) == weights
