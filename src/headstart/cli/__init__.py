"""The command line: a file a group of commands, each a thin door to one function."""
