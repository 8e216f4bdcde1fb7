"""Networks: torso → core → heads, with all parameters in one flat vector."""
