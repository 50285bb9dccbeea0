"""What networks run on: hardware, precision, backends, a GPU and its memory."""
