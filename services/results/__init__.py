"""Results of models, kept under names that never change their meaning."""
