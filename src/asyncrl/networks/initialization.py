"""Initial parameters."""

from torch import nn

from asyncrl.networks.heads import CategoricalHead, ValueHead


def orthogonal(network: nn.Module) -> None:
    """Orthogonal weights and zero biases: gain √2 in hidden layers, 0.01 in policy heads, 1 in value heads and cells.

    The small policy gain makes the initial policy almost uniform.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            gain = 0.01 if isinstance(module, CategoricalHead) else 1.0 if isinstance(module, ValueHead) else 2**0.5
            nn.init.orthogonal_(module.weight, gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LSTMCell | nn.GRUCell):
            for name, parameter in module.named_parameters():
                if name.startswith("weight"):
                    nn.init.orthogonal_(parameter)
                else:
                    nn.init.zeros_(parameter)
