"""What the models see in pictures of which it is known what is there."""
