"""The network of an experiment."""

from __future__ import annotations

import torch

from asyncrl.config import Experiment
from asyncrl.networks.assemble import Network
from asyncrl.networks.initialization import orthogonal
from asyncrl.types import EnvironmentInfo


def make_network(experiment: Experiment, info: EnvironmentInfo) -> Network:
    """The experiment's network, its parameters drawn from the experiment's seed; the global random state is kept.

    `initialization: torch` is Torch's default, uniform in ±1/√fan_in, which the 2016 paper used.

    Raises:
        UserError: The algorithm or the torso does not fit the environment.
    """
    algorithm = experiment.algorithm
    heads = {**algorithm.heads(info.action_space), **algorithm.auxiliary_heads(info)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(experiment.seed)
        network = Network(info.observation_space, experiment.network, heads)
        if experiment.network.initialization == "orthogonal":
            orthogonal(network)
    return network
