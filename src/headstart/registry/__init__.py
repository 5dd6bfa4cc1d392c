"""What there is, by name, without torch: the methods, and what installed packages add to them."""
