"""What a run would do: stored rows compared with what is wanted."""
