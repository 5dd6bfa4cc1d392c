"""How parameters are learned: the training loop, its optimizers, and logistic regression for a linear
head."""
