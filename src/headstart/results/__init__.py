"""Numbers out of finished trials: metrics, statistics, claims, label curves; no torch."""
