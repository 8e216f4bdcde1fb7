"""ONNX files: onnxruntime computes what the agent computes."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import tests.environments  # noqa: F401  (registers the environments)
from asyncrl.agent import load
from asyncrl.cli import main
from asyncrl.envs.make import describe, make_environments
from asyncrl.export import ExportedPolicy, export_onnx
from asyncrl.installing import install_command
from asyncrl.runtime.agent import Agent
from asyncrl.runtime.networks import make_network
from tests.experiments import small

CASES: dict[str, dict[str, Any]] = {
    "images": {"environment": "ALE/Pong-v5"},
    "images, lstm": {"environment": "ALE/Breakout-v5", "memory": "lstm"},
    "images, layers normalised": {"environment": "ALE/Pong-v5", "layer_norm": True},
    "vectors, layers normalised, gru": {"environment": "CartPole-v1", "algorithm": "pqn", "memory": "gru"},
    "vectors, normalised": {"environment": "CartPole-v1", "normalize_observations": True},
    "vectors, lstm, values": {"environment": "CartPole-v1", "memory": "lstm", "algorithm": "nstep-q"},
    "networks of each action": {"environment": "CartPole-v1", "algorithm": "nfq", "separate_actions": True},
    "dictionaries, gru": {"environment": "test/Rooms-v0", "memory": "gru", "last_action_reward": True},
    "continuous actions": {"environment": "test/Reach-v0"},
    "stochastic dueling": {"environment": "test/Reach-v0", "algorithm": "acer", "memory": "lstm"},
    "action masks": {"environment": "test/Menu-v0", "environment_options": {"where": "key"}},
}


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES)
def test_onnxruntime_takes_the_same_actions(tmp_path: Path, settings: dict[str, Any]) -> None:
    experiment = small(**settings)
    info = describe(experiment)
    network = make_network(experiment, info)
    with torch.no_grad():
        for parameter in network.parameters():  # initial policies are nearly uniform, whatever the observation
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)) * 0.05)
    agent = Agent(experiment, info, network, torch.Generator())
    export_onnx(agent, tmp_path / "agent.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "agent.onnx"))
    policy, count, heads = ExportedPolicy(agent), 3, []
    environments = make_environments(experiment, count)
    observations, _ = environments.reset(seed=1)
    state, first = network.initial_state(count), np.ones(count, np.bool_)
    theirs = {f"state/{number}": tensor.numpy() for number, tensor in enumerate(state)}
    for _ in range(30):
        given = observations  # as the environment gives them: the number of a room, and not one-hot
        if isinstance(observations, dict) and "room" in observations:
            given = {**observations, "room": observations["room"].argmax(-1)}
        actions, state = agent.predict(given, state, deterministic=True)
        named = observations if isinstance(observations, dict) else {"": observations}
        types = {entry.name: entry.type for entry in session.get_inputs()}
        inputs = {f"observation/{key}".rstrip("/"): value for key, value in named.items()}
        inputs = {
            name: value.astype(np.float32) if types[name] == "tensor(float)" else value
            for name, value in inputs.items()
        }
        inputs |= {**theirs, "first": first}
        outputs = dict(zip(policy.output_names(), session.run(None, inputs), strict=True))
        with torch.no_grad():
            expected = policy(*(torch.from_numpy(inputs[name]) for name in policy.example_inputs(1)))
        for (name, found), tensor in zip(outputs.items(), expected, strict=True):
            np.testing.assert_allclose(found, tensor.numpy(), atol=1e-4, err_msg=name)
        np.testing.assert_allclose(outputs["action"], actions, atol=1e-4)
        theirs = {name: outputs[f"next_{name}"] for name in theirs}
        heads.append(outputs[policy.output_names()[1]])
        observations, *_ = environments.step(actions)
        first = np.zeros(count, np.bool_)
    environments.close()
    assert np.ptp(heads, axis=0).max() > 1e-3  # the outputs depend on the observations


def test_the_command_writes_a_file_without_paths_of_this_machine(
    in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "Catch", "--steps", "2k", "--runtime", "serial", "--run-dir", "run"]) == 0
    capsys.readouterr()
    assert main(["export", "run", "--checkpoint", "best"]) == 0
    output = capsys.readouterr().out
    assert "wrote run/agent.onnx" in output
    assert "in:  observation [B, 10, 5] float32" in output
    assert "out: action, policy, value" in output
    onnx.checker.check_model(onnx.load("run/agent.onnx"))
    assert b".py" not in Path("run/agent.onnx").read_bytes()
    assert load("run").network.training  # exporting has left the mode as it was
    assert main(["export", "run", "--output", "no/where.onnx"]) == 2
    assert "cannot write no/where.onnx: No such file or directory" in capsys.readouterr().err


def test_without_the_extra_the_command_says_how_to_get_it(
    in_tmp: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["train", "Catch", "--steps", "2k", "--runtime", "serial", "--run-dir", "run"]) == 0
    real = builtins.__import__

    def refuse(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "onnxscript":
            raise ImportError("No module named 'onnxscript'")
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert main(["export", "run"]) == 2
    assert install_command("asyncrl[export]") in capsys.readouterr().err
