"""What each node type does, a performer each."""
