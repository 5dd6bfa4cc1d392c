"""The app: the same question in a browser; what takes minutes runs in processes of its own."""
