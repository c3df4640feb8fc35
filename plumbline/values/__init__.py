"""Values of agents in decision problems: what a reward means there, what was meant by it, and whether two agents want the same."""
