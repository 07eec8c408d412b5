"""Studies: many trainings from a frozen table, each done once, and a report beside the paper's."""
