"""What the models see and miss: the figures of docs/recognition.md, to be had again."""
