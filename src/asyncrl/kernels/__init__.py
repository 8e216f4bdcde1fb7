"""The few loops that Torch is slow at, compiled for the processor at hand.

They need llvmlite (the extra `fast`). Without it Torch does the same; tests hold the two together.
"""

from importlib.util import find_spec

available = find_spec("llvmlite") is not None
"""Whether the compiler is installed."""
