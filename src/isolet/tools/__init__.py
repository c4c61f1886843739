"""Functions as tools of agents, for anyone: which there are, and calls of them. It knows no protocol of agents."""
