"""Cheap dropout: the same distribution as torch's, and the same network where nothing is dropped."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import AutoModel, BertConfig, GPT2Config
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from tlx.models.dropout import ATTENTION, Dropout, attention, dropout
from tlx.models.hugging_face import build_network


def bert(**options: float) -> BertConfig:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return BertConfig(vocab_size=20, **sizes, **options)


@given(st.floats(0.01, 0.99), st.integers(0, 2**32), st.sampled_from([(7,), (50, 41), (3, 5, 200)]))
def test_values_are_dropped_or_scaled(p: float, seed: int, shape: tuple[int, ...]) -> None:
    torch.manual_seed(seed)
    x = torch.randn(shape, requires_grad=True)
    torch.manual_seed(seed)
    found = dropout(x, p)
    kept = found != 0
    scale = 1 / (1 - round(p * 2**16) / 2**16)
    torch.testing.assert_close(found, torch.where(kept, x * scale, 0.0))
    found.sum().backward()
    torch.testing.assert_close(x.grad, kept * torch.tensor(scale))
    torch.manual_seed(seed)
    assert torch.equal(dropout(x, p), found)
    assert x.numel() < 100 or not torch.equal(dropout(x, p), found)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_as_many_as_asked_for_and_independent(p: float, kind: torch.dtype) -> None:
    torch.manual_seed(0)
    kept = (dropout(torch.ones(1000, 1000, dtype=kind), p) != 0).double()
    error = 5 * (p * (1 - p) / kept.numel()) ** 0.5
    assert abs(float(kept.mean()) - (1 - p)) < error
    for shift in (1, 2, 3, 4, 1000):  # the parts of one word, and neighbours of rows
        flat = kept.flatten() - (1 - p)
        assert abs(float((flat[shift:] * flat[:-shift]).mean())) < 5 * p * (1 - p) / kept.numel() ** 0.5


def test_nothing_and_everything() -> None:
    x = torch.randn(9)
    assert torch.equal(dropout(x, 0.0), x) and not dropout(x, 1.0).any()
    assert torch.equal(Dropout(0.5).eval()(x), x)


@pytest.mark.parametrize("kind", ["none", "bool", "float"])
def test_attention_is_that_of_transformers_but_for_what_is_dropped(kind: str) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, 5, 4) for _ in range(3))
    seen = torch.tensor([[True] * 5, [True, True, False, False, False]])[:, None, None]
    mask = {"none": None, "bool": seen, "float": torch.where(seen, 0.0, -1e9)}[kind]
    given = nn.Module(), query, key, value, mask
    true, _ = sdpa_attention_forward(*given, is_causal=False)
    assert torch.equal(attention(*given, is_causal=False)[0], true)
    torch.testing.assert_close(attention(*given, 1e-9, is_causal=False)[0], true)  # rounded to none
    drawn = torch.stack([attention(*given, 0.2, is_causal=False)[0] for _ in range(4000)])
    assert drawn[0].shape == true.shape and not torch.equal(drawn[0], drawn[1])
    torch.testing.assert_close(drawn.mean(0), true, atol=0.12, rtol=0)


def test_a_query_that_sees_nothing_makes_no_nan() -> None:
    x, nothing = torch.randn(1, 1, 3, 4), torch.zeros(1, 1, 3, 3, dtype=torch.bool)
    assert attention(nn.Module(), x, x, x, nothing, 0.1)[0].isfinite().all()


def test_what_is_causal_stays_so() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 1, 4, 4)
    module = nn.Module()
    module.is_causal = True
    first = attention(module, x, x, x, None, 0.5)[0][:, 0]
    assert all(torch.equal(v, torch.zeros(1, 4)) or torch.allclose(v, 2 * x[0, :, 0]) for v in first)


@pytest.mark.parametrize("config", [bert(), GPT2Config(vocab_size=20, n_embd=16, n_layer=2, n_head=2)])
def test_the_network_is_the_same_where_nothing_is_dropped(config) -> None:
    network = build_network(config).eval()
    plain = AutoModel.from_config(type(config)(**config.to_dict()), attn_implementation="sdpa").eval()
    plain.load_state_dict(network.state_dict(), strict=False)
    batch = {"input_ids": torch.randint(20, (2, 6)), "attention_mask": torch.ones(2, 6, dtype=torch.long)}
    batch["attention_mask"][1, 4:] = 0
    assert network.config._attn_implementation == ATTENTION
    assert torch.equal(network(**batch).last_hidden_state, plain(**batch).last_hidden_state)
    assert not any(type(part) is nn.Dropout for part in network.modules())
    assert any(type(part) is Dropout for part in network.modules())


def test_in_training_it_drops_in_attention_and_between_layers() -> None:
    torch.manual_seed(0)
    batch = {"input_ids": torch.randint(20, (2, 6)), "attention_mask": torch.ones(2, 6, dtype=torch.long)}
    for options in ({"hidden_dropout_prob": 0.0}, {"attention_probs_dropout_prob": 0.0}):
        network = build_network(bert(**options)).train()
        one, other = (network(**batch).last_hidden_state for _ in range(2))
        assert not torch.equal(one, other), options
    still = build_network(bert(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)).train()
    assert torch.equal(still(**batch).last_hidden_state, still(**batch).last_hidden_state)
