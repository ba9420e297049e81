"""Terms beside the task's loss: L2-SP, EWC."""
