"""The settings of Gorila, each number with its source.

Sources:

- [G] Nair et al. 2015, "Massively Parallel Methods for Deep Reinforcement Learning", as quoted in public notes on it.
- [N] Mnih et al. 2015, "Human-level control through deep reinforcement learning".
- [M] Said of the paper from memory, not verified in a source that could be read.
- [?] Not found in a source that could be read: an assumption.
"""

from __future__ import annotations

from dataclasses import replace

from asyncrl.config import Experiment
from asyncrl.presets import paper
from asyncrl.settings import ClusterSettings


def gorila(environment: str, algorithm: str) -> Experiment:
    """Gorila on Atari, bundled: every node acts, keeps its replay and learns (100 nodes, Ray).

    Deviation: the target network is refreshed by the count of steps, and not by that of the server's updates.
    Deviation: --replay-capacity is that of all nodes together, one million steps; the paper's nodes have so many each.
    Deviation: gradients that come together while a push is on its way are summed in the next one.
    """
    start = paper.dqn_2015(environment, algorithm)  # [G] DQN with the network and the settings of [N]
    optimizer = replace(
        start.optimizer,
        optimizer="shared-adagrad",  # [M]
        learning_rate=1e-3,  # [?]
        epsilon=1e-6,  # [?]
        outlier_deviations=5.0,  # [G] losses far above their running mean are discarded; [?] the number
    )
    cluster = ClusterSettings(
        exchange="gradients",  # [G]
        exchange_seconds=0.0,  # [G] every gradient is sent
        pushes_in_flight=2,  # [?]
        shards=31,  # [M]
        max_staleness=1_000,  # [G] gradients that are too old are discarded; [?] the number
    )
    return replace(start, optimizer=optimizer, runtime="ray", cluster=cluster)
