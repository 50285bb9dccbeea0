"""The context fusion network: utterances in their dialogue, modalities as sequences."""
