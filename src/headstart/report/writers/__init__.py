"""What a report is written as: page, Markdown, PDF, folder to publish, terminal tables, notebook figures."""
