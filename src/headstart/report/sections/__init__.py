"""The sections of a report: each makes the figures, tables and sentences of one part of the page."""
