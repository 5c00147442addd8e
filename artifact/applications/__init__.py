"""Fields where online learning is proposed: their streams, the networks that learn them, and their own baselines."""
