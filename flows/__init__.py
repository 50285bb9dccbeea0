"""The flows and the command line: orchestration only."""
