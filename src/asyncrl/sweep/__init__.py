"""Many runs from one description: the description, its execution and its results."""
