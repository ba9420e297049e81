"""What a record keeps of a run's predictions, beside the file that holds them all."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def predictions_summary(labels: "np.ndarray", predicted: "np.ndarray") -> dict[str, Any]:
    """What a record keeps of predictions.

    `examples`, `classes` among the labels, `majority` (share of the commonest label), `predicted_classes`, and
    `most_predicted` (share of the examples that get the class which is predicted most).

    Args:
        labels, predicted: class indices, shape (n,), n > 0.
    """
    import numpy as np

    known, counts = np.unique(labels, return_counts=True)
    found, predictions = np.unique(predicted, return_counts=True)
    return {
        "examples": len(labels),
        "classes": len(known),
        "majority": float(counts.max() / len(labels)),
        "predicted_classes": len(found),
        "most_predicted": float(predictions.max() / len(labels)),
    }
