"""What is asked of models after training: corruptions, shift sets, Grad-CAM."""
