"""From a run to a model file: export, parity, evaluation on held-out scenes, the card."""
