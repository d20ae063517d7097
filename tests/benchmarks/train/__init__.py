"""Trainers against Vowpal Wabbit and scikit-learn, in one alternating run: CPU seconds at equal held-out loss."""
