"""The parts of a report as blocks: what sections computed, put into sentences, tables and figures."""
