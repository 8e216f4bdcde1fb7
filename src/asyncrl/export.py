"""A trained agent as one ONNX file, which other programs and languages can run without torch or asyncrl."""

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

from asyncrl.agent import Agent
from asyncrl.envs.actions import action_codec
from asyncrl.errors import UserError
from asyncrl.networks.torso import ImageTorso
from asyncrl.run_folder import write_bytes

OBSERVATION, FIRST, ACTION, STATE = "observation", "first", "action", "state"


def export_onnx(agent: Agent, output: Path) -> None:
    """Writes the agent as an ONNX file.

    Its inputs are `observation` [B, ...] (for a Dict space `observation/KEY` for each key), `first` [B], true where an
    observation is its episode's first, and for a recurrent agent `state/0`, ... [B, H], zeros to begin with. Its
    outputs are `action` [B, ...], the best known action as the environment takes it; the network's heads [B, ...], such
    as `policy` (logits, or mean and deviation) and `value`, or `q`; and `next_state/0`, ... [B, H]. B is free.

    Raises:
        UserError: The extra is missing, or the file cannot be written.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  (torch exports with it)
    except ImportError as error:
        raise UserError(f'ONNX files need another package ({error}): pip install "asyncrl[export]"') from error
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
        part.ClearField("metadata_props")  # where on this machine the code lies
        part.ClearField("doc_string")
    onnx.helper.set_model_props(model, {"asyncrl": json.dumps({"environment": agent.info.id})})
    try:
        write_bytes(output, model.SerializeToString())
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror}") from error


class ExportedPolicy(nn.Module):
    """The agent as a function of plain tensors, for one step of B environments."""

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        self.network, self.algorithm = agent.network, agent.experiment.algorithm
        self.space, self.codec = agent.info.observation_space, action_codec(agent.info.action_space)
        self.states = len(agent.network.initial_state(1))

    def example_inputs(self, count: int = 2) -> dict[str, Tensor]:
        """Inputs by name for `count` environments."""
        spaces = self.space.spaces if isinstance(self.space, Dict) else {"": self.space}
        observations = {
            f"{OBSERVATION}/{key}".rstrip("/"): torch.zeros(count, *space.shape, dtype=_dtype(space))
            for key, space in spaces.items()
            if isinstance(space, Box)
        }
        state = {f"{STATE}/{number}": tensor for number, tensor in enumerate(self.network.initial_state(count))}
        return {**observations, FIRST: torch.ones(count, dtype=torch.bool), **state}

    def output_names(self) -> list[str]:
        """In the order of `forward`."""
        return [ACTION, *self.network.heads, *(f"next_{STATE}/{number}" for number in range(self.states))]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Action, heads and next state from the inputs in the order of `example_inputs`."""
        *observations, first = inputs[: len(inputs) - self.states]
        state = inputs[len(inputs) - self.states :]
        rows: Any = observations[0].unsqueeze(0)
        if isinstance(self.space, Dict):
            keys = self.space.spaces
            rows = {key: tensor.unsqueeze(0) for key, tensor in zip(keys, observations, strict=True)}
        outputs, state = self.network(rows, state, first.unsqueeze(0))
        action = self._for_environment(self.algorithm.act_greedily(self.network, outputs)[0])
        return action, *(outputs[name][0] for name in self.network.heads), *state

    def _for_environment(self, actions: Tensor) -> Tensor:
        """What `ActionCodec.to_environment` does, in torch."""
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
    """Lets the network compute by torch's own convolutions, which can be exported."""
    torsos = [module for module in network.modules() if isinstance(module, ImageTorso)]
    compiled = [torso.compiled for torso in torsos]
    for torso in torsos:
        torso.compiled = None
    try:
        yield
    finally:
        for torso, layers in zip(torsos, compiled, strict=True):
            torso.compiled = layers
