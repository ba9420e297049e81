"""Names of the parameters that peft puts into a network, and the network's tensors without them. No torch here."""

import re
from typing import Any

# peft's parameters of an adapter, by name: low-rank factors, and the magnitude vector of DoRA.
MARK = re.compile(r"\.lora_(A|B|embedding_A|embedding_B|magnitude_vector|dropout)\b")


def plain_state(network: Any) -> dict[str, Any]:
    """Copies of all tensors on the CPU, without adapters: these are folded into the layers they wrap (`merge`)."""
    state = {n: t for n, t in network.state_dict().items() if not MARK.search(n)}
    return {n.replace(".base_layer.", "."): t.detach().cpu().contiguous().clone() for n, t in state.items()}
