"""What the outputs of a network say, whatever its heads are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asyncrl.analysis.readout import first_outputs, readout_of
from asyncrl.envs.make import describe
from asyncrl.runtime.agent import Agent
from asyncrl.runtime.networks import make_network
from tests.experiments import small


def test_the_value_of_a_policy_with_action_values_is_their_mean_over_the_policy() -> None:
    experiment = small("Catch", "acer")
    info = describe(experiment)
    agent = Agent(experiment, info, make_network(experiment, info), torch.Generator())
    readout = readout_of(agent)
    outputs = first_outputs(agent, np.random.default_rng(0).random((6, 10, 5)))
    reading, value = readout.read(outputs), readout.value(outputs)
    expected = (outputs["policy"][0].softmax(-1) * outputs["q"][0]).sum(-1).tolist()
    assert readout.kind == "probabilities"
    assert reading.values is not None
    assert value is not None
    assert reading.values.tolist() == pytest.approx(expected)
    assert value.tolist() == pytest.approx(expected)
    assert reading.values.max() < outputs["q"].max()
