"""What a training step costs, against the step that LISA and PLUM take."""
