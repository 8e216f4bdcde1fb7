"""How fast training is beside the raw environment, and beside other packages."""
