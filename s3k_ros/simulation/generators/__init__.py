"""Textured objects made from seeds: the game box, its distractors and shoes."""
