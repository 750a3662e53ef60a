"""What can be found in the text that an image shows. Pure: strings in, findings out."""
