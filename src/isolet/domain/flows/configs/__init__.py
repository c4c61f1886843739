"""What a node of each type is told to do: the members of its `config`, and their bounds, as Kapso's API has them."""
