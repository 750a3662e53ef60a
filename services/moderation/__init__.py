"""The moderation service: what the models saw, and a policy, make a verdict."""
