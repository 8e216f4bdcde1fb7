"""Denormal numbers are rounded to zero in our own arithmetic, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import asyncrl
import tests.environments  # noqa: F401  (registers the environments)
from asyncrl.algorithms.a3c import A3C
from asyncrl.algorithms.base import Explorer
from asyncrl.callbacks import Callback, EpisodeEnded, Updated
from asyncrl.networks.assemble import Network, Networks
from asyncrl.runtime.denormals import flushed_denormals
from asyncrl.types import Loss, Outputs, Progress, Rollout, WorkerInfo

pytestmark = pytest.mark.timeout(120)


def keeps_denormals() -> bool:
    return bool((torch.full((8,), 1e-40) * 0.5).all()) and bool((np.full(8, 1e-310) * 0.5).all())


def test_denormals_are_flushed_inside_only() -> None:
    assert keeps_denormals()
    with flushed_denormals():
        assert not keeps_denormals()
        with flushed_denormals():
            assert not keeps_denormals()
        assert not keeps_denormals()
    assert keeps_denormals()
    with pytest.raises(ZeroDivisionError), flushed_denormals():
        raise ZeroDivisionError
    assert keeps_denormals()


@dataclass(frozen=True)
class Probe(A3C):
    """Reports whether acting and learning keep denormals."""

    def explorer(self, network: Network, worker: WorkerInfo, random: torch.Generator) -> Explorer:
        """As A3C's."""
        act = super().explorer(network, worker, random)

        def explore(outputs: Outputs, progress: Progress) -> Tensor:
            assert not keeps_denormals()
            return act(outputs, progress)

        return explore

    def loss(self, networks: Networks, experience: Rollout) -> Loss:
        """As A3C's."""
        loss = super().loss(networks, experience)
        statistics: Mapping[str, Tensor] = {**loss.statistics, "kept": torch.tensor(float(keeps_denormals()))}
        return replace(loss, statistics=statistics)


class Watch(Callback):
    """Keeps what environments and updates saw."""

    def __init__(self) -> None:
        self.environments, self.updates = list[float](), list[float]()

    def on_episode(self, episode: EpisodeEnded) -> None:
        self.environments.append(episode.total_reward)

    def on_updates(self, updates: Updated) -> None:
        self.updates.append(updates.statistics["kept"])


@pytest.mark.parametrize("runtime", ["serial", "processes"])
def test_environments_keep_denormals_while_updates_do_not(
    in_tmp: Path, runtime: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncrl.analysis.curves.plot_runs", lambda *_: None)  # it takes its time
    watch, probe = Watch(), "tests.runtime.test_denormals:Probe"
    settings: dict[str, Any] = {"workers": 1, "envs_per_worker": 2, "steps": 200, "until_return": None}
    environment = "tests.environments:test/Denormal-v0"
    asyncrl.train(environment, algorithm=probe, runtime=runtime, run_dir="run", callbacks=[watch], **settings)
    assert watch.environments
    assert set(watch.environments) == {3.0}  # all three steps of each episode
    assert watch.updates
    assert set(watch.updates) == {0.0}
