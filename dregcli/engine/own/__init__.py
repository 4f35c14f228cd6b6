"""``multi_sample_loss``, for training loops of other people: any posterior, any ``log_joint``, and checks of both."""
