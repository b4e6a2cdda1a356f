"""gantlet."""
