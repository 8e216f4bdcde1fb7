"""Writes a trained agent as one ONNX file, which other programs and languages run without torch or asyncrl."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from gymnasium.spaces import Box, Dict
from torch import Tensor, nn

from asyncrl.envs.actions import action_codec
from asyncrl.errors import UserError
from asyncrl.files import write_bytes
from asyncrl.installing import install_command
from asyncrl.networks.torso import ImageTorso
from asyncrl.runtime.agent import Agent
from asyncrl.tree import pack, tree_map

OBSERVATION, FIRST, ACTION, STATE = "observation", "first", "action", "state"


def export_onnx(agent: Agent, output: Path) -> None:
    """Writes an agent as an ONNX file.

    Inputs of the model, for any number B of environments:
        - `observation` [B, ...], or `observation/KEY` for each key of a Dict space;
        - `first` [B] bool, true where an observation is the first of its episode;
        - `state/0`, ... [B, H] for a recurrent agent, zeros at the start.

    Outputs of the model:
        - `action` [B, ...], the greedy action as the environment takes it;
        - the network's heads [B, ...], such as `policy` (logits, or mean and deviation) and `value`, or `q`;
        - `next_state/0`, ... [B, H] for a recurrent agent.

    Raises:
        UserError: The extra is not installed, or the file cannot be written.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  (torch exports with it)
    except ImportError as error:
        raise UserError(f"ONNX files need another package ({error}): {install_command('asyncrl[export]')}") from error
    policy = ExportedPolicy(agent)
    inputs = policy.example_inputs()
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings(), _without_compiled_layers(agent.network):
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            policy,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=policy.output_names(),
            dynamic_shapes=(tuple({0: batch} for _ in inputs),),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for part in (model.graph, *model.graph.node, *model.functions, *(n for f in model.functions for n in f.node)):
        part.ClearField("metadata_props")  # paths of source files on this machine
        part.ClearField("doc_string")
    onnx.helper.set_model_props(model, {"asyncrl": json.dumps({"environment": agent.info.id})})
    try:
        write_bytes(output, model.SerializeToString())
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror}") from error


class ExportedPolicy(nn.Module):
    """An agent as a function of plain tensors, for one step of B environments."""

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        self.network, self.algorithm = agent.network, agent.experiment.algorithm
        self.space, self.codec = agent.info.observation_space, action_codec(agent.info.action_space)
        self.states = len(agent.network.initial_state(1))

    def example_inputs(self, count: int = 2) -> dict[str, Tensor]:
        """Returns inputs by name for `count` environments."""
        space = self.space.spaces if isinstance(self.space, Dict) else self.space
        observations = tree_map(lambda box: torch.zeros(count, *box.shape, dtype=_dtype(box)), space)
        state = pack(STATE, dict(enumerate(self.network.initial_state(count))))
        return {**pack(OBSERVATION, observations), FIRST: torch.ones(count, dtype=torch.bool), **state}

    def output_names(self) -> list[str]:
        """Returns the names of the outputs, in the order of `forward`."""
        return [ACTION, *self.network.main_heads, *(f"next_{STATE}/{number}" for number in range(self.states))]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Computes action, heads and next state from the inputs, which are in the order of `example_inputs`."""
        *observations, first = inputs[: len(inputs) - self.states]
        state = inputs[len(inputs) - self.states :]
        rows: Any = observations[0].unsqueeze(0)
        if isinstance(self.space, Dict):
            keys = self.space.spaces
            rows = {key: tensor.unsqueeze(0) for key, tensor in zip(keys, observations, strict=True)}
        outputs, state = self.network(rows, state, first.unsqueeze(0))
        action = self._for_environment(self.algorithm.act_greedily(self.network, outputs)[0])
        return action, *(outputs[name][0] for name in self.network.main_heads), *state

    def _for_environment(self, actions: Tensor) -> Tensor:
        """Does what `ActionCodec.to_environment` does, in torch."""
        space = self.codec.space
        if not isinstance(space, Box):
            return actions + torch.as_tensor(self.codec.offset)
        scaled = actions * torch.as_tensor(self.codec.scale) + torch.as_tensor(self.codec.offset)
        shaped = scaled.reshape(-1, *space.shape)
        return shaped.clamp(torch.as_tensor(space.low), torch.as_tensor(space.high)).to(_dtype(space))


def _dtype(space: Box) -> torch.dtype:
    return torch.from_numpy(space.low.reshape(-1)[:1].astype(space.dtype)).dtype


@contextmanager
def _without_compiled_layers(network: nn.Module) -> Iterator[None]:
    """Makes the network use torch's own convolutions, which can be exported."""
    torsos = [module for module in network.modules() if isinstance(module, ImageTorso)]
    compiled = [(torso.compiled, torso.kernels) for torso in torsos]
    for torso in torsos:
        torso.compiled, torso.kernels = None, ()
    try:
        yield
    finally:
        for torso, layers in zip(torsos, compiled, strict=True):
            torso.compiled, torso.kernels = layers
