"""Initial parameters."""

from torch import nn

from asyncrl.networks.heads import Output


def orthogonal(network: nn.Module) -> None:
    """Orthogonal weights and zero biases: gain √2 in hidden layers, 1 in cells, each last layer's own in heads."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.orthogonal_(module.weight, module.gain if isinstance(module, Output) else 2**0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LSTMCell | nn.GRUCell):
            for name, parameter in module.named_parameters():
                if name.startswith("weight"):
                    nn.init.orthogonal_(parameter)
                else:
                    nn.init.zeros_(parameter)
