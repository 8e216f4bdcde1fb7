"""Initial parameters."""

from torch import nn

from asyncrl.networks.heads import Output


def orthogonal(network: nn.Module) -> None:
    """Draws orthogonal weights and sets biases to zero.

    The gain is √2 in hidden layers, 1 in recurrent cells, and the head's own (`Output.gain`) in last layers. The forget
    gate of an LSTM gets bias 1 (Jozefowicz et al. 2015), so that it keeps its state at first.
    """
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
            if isinstance(module, nn.LSTMCell):
                nn.init.ones_(module.bias_ih[module.hidden_size : 2 * module.hidden_size])  # gates: i, f, g, o
