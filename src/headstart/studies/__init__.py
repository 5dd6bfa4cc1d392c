"""Which trials a study has, planning and running them, one trial; the built-in studies lie here."""
