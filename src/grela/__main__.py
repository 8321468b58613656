"""`python -m grela`: the command line."""

from grela.cli.main import main

main()
