"""The tasks as pure state machines: a core, and a file of transitions for each."""
