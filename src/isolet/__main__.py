"""`python -m isolet` is the `isolet` command."""

from isolet.cli.main import main

main()
