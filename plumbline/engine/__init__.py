"""The runtime: decides how what a method says is carried out (backward, optimisers, ranks, checkpoints, run folders)."""
