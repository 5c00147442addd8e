"""What others have published on the same worlds, under their own budgets."""

import pandas as pd

MAZE = pd.DataFrame(
    {
        "exact, dense": [0.90, 0.64, 0.50], "RTU": [0.99, 0.81, 0.61], "LRU": [0.91, 0.50, 0.08],
        "SnAp-1, dense": [0.58, 0.50, 0.49], "TBPTT, dense": [0.71, 0.27, 0.17],
    },
    index=pd.Index([10, 20, 40], name="corridor"),
)  # fmt: skip
"""Success in the T-maze after 60, 100 and 150 thousand steps, each of 16 streams: sixteen times the experience of one.

Result files of the public repository sonaradarcn/sketched-rtrl, 64 units; means of the last five logs (each over the
last 400 episodes) of three seeds. Its windows of TBPTT cover the time limit.
"""

CHAIN = pd.DataFrame(
    {"RTRL": [0.90, 0.61, 0.56, 0.61], "RFLO": [1.0, 1.0, 0.77, 0.32], "PPO": [1.0, 1.0, 1.0, 1.0]},
    index=pd.Index([8, 16, 32, 64], name="length"),
)
"""Reward in the memory chain, after up to 50 million steps.

Lemmel & Grosu (2025), "Real-time recurrent reinforcement learning", AAAI 39 (arXiv 2311.04830), appendix, table 2.
"""
