"""`python -m grela`: the command line."""

from grela.cli.main import main

if __name__ == "__main__":  # worker processes import this too
    main()
