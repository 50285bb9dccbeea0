"""``video/resnet50``: features of the chosen frames."""
