"""Which way is best for somebody's images: the command `advise`, start to finish."""
