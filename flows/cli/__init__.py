"""The command line: commands, their parameters, what the terminal shows."""
