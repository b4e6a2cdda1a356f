"""`python -m gantlet` and `torchrun -m gantlet`."""

from gantlet.cli import main

if __name__ == "__main__":
    main()
