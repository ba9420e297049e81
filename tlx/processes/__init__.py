"""One run on several processes: who is who, DDP, FSDP, signals."""
