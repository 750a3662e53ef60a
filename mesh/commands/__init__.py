"""One module a command: options in, the work of the modules beside this package, text out."""
