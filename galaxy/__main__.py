"""`python -m galaxy` is the command `galaxy`."""

from galaxy.cli.main import main

if __name__ == "__main__":
    main()
