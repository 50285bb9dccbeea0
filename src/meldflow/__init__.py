"""meldflow: multimodal features of the MELD clips, extracted on a cluster, versioned and judged."""
